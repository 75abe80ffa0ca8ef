"""The step that makes preference pairs: conversations → pairs, as files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from artifacts.step import Built, Workspace
from datagen.access import AgentRole, Cast, LlmAccess
from datagen.cases import Case
from datagen.errors import DamagedInput
from datagen.files import FAILED, PREFERENCES, LineWriter, read_cases, read_conversations
from datagen.identity import LANGUAGES, GenerationKey, Outturn, step_key
from datagen.preferences import (
    ERRORS_FILE,
    Method,
    Place,
    PreferenceSettings,
    make_pair,
    usable_turns,
)
from datagen.production import Production
from datagen.prompting import Style
from datagen.scripted import Line, worked_example
from datagen.speaking import Speaker
from validation.schemas import Conversation, Language, PreferencePair, Quarantined

PREFERENCES_VERSION = 3


def preference_roles(settings: PreferenceSettings) -> tuple[AgentRole, ...]:
    """The roles that are asked."""
    return ("doctor", "teacher")


def preferences_key(settings: PreferenceSettings, access: LlmAccess) -> GenerationKey:
    """What the step that `build_preferences` is, is known by."""
    roles = preference_roles(settings)
    languages = access.languages(roles)
    return step_key(settings, access, roles, languages, word_lists=(ERRORS_FILE,))


def build_preferences(
    settings: PreferenceSettings, access: LlmAccess, workspace: Workspace
) -> Built:
    """Make pairs from the input `conversations`.

    Writes `preferences.jsonl` and `failed.jsonl` (ties too). Raises DamagedInput,
    and the endpoint errors that end a run.
    """
    folder = workspace.inputs["conversations"]
    cases = read_cases(folder)
    roles = preference_roles(settings)
    languages = access.languages(roles)
    style = access.shares("doctor")[0].endpoint.style
    conversations, tried, total = 0, 0, 0
    for talk in read_conversations(folder):
        if talk.case_id not in cases:
            raise DamagedInput(
                f"{folder} lacks the case {talk.case_id!r}: generate the conversations again"
            )
        conversations += 1
        here = len(_places_of(talk, settings, style, languages))
        tried += here > 0
        total += here
    outturn, fault_types = Outturn(), Counter[str]()
    work = Production(access, roles, "pairs", workspace.progress)
    with (
        LineWriter(workspace.out / PREFERENCES) as pairs,
        LineWriter(workspace.out / FAILED) as failed,
    ):

        def keep(made: PreferencePair | Quarantined) -> None:
            if isinstance(made, Quarantined):
                failed.write(made)
                outturn.add_failed(made.fault)
                return
            pairs.write(made)
            outturn.add(made.language)
            fault_types[made.fault_type] += 1

        talks = read_conversations(folder)
        places = find_places(talks, cases, settings, style, languages)
        work.run(places, total, partial(_pair, settings), keep)
    return outturn.built(
        work.meter,
        {
            "fault_types": dict(sorted(fault_types.items())),
            "conversations": conversations,
            "without_pair_tried": conversations - tried,
        },
    )


async def _pair(
    settings: PreferenceSettings, place: Place, cast: Cast
) -> PreferencePair | Quarantined:
    return await make_pair(place, settings, Speaker(cast))


def find_places(
    talks: Iterable[Conversation],
    cases: Mapping[str, Case],
    settings: PreferenceSettings,
    style: Style,
    languages: tuple[Language, ...] = LANGUAGES,
) -> Iterator[Place]:
    """Every turn from which a pair shall be made, in order of talk, turn and method."""
    library = tuple(cases.values())
    examples: dict[tuple[str, int], tuple[Line, ...]] = {}
    for talk in talks:
        for turn, method in _places_of(talk, settings, style, languages):
            case = cases[talk.case_id]
            key = (case.case_id, _questions(talk))
            if key not in examples:
                examples[key] = worked_example(case, library, key[1])
            yield Place(talk=talk, case=case, turn=turn, method=method, example=examples[key])


def _places_of(
    talk: Conversation,
    settings: PreferenceSettings,
    style: Style,
    languages: tuple[Language, ...],
) -> list[tuple[int, Method]]:
    if talk.language not in languages:
        return []
    by_style: tuple[Method, ...] = ("sampled", "typed_error") if style == "chat" else ("sampled",)
    return [
        (turn, method)
        for turn in usable_turns(talk, settings)
        for method in settings.methods or by_style
    ]


def _questions(talk: Conversation) -> int:
    return sum(m.role == "assistant" for m in talk.messages) - 1
