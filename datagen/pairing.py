"""The step that makes preference pairs: conversations → pairs, as files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from artifacts.step import Built, Workspace
from datagen.access import AgentRole, Cast, LlmAccess
from datagen.assessment import judge_mode
from datagen.candidates import check_policy
from datagen.cases import Case
from datagen.clinical_errors import ERRORS_FILE
from datagen.errors import DamagedInput
from datagen.files import (
    FAILED,
    JUDGEMENTS,
    PREFERENCES,
    LineWriter,
    read_cases,
    read_conversations,
    read_lines,
)
from datagen.identity import LANGUAGES, GenerationKey, Outturn, step_key
from datagen.length_balance import too_many
from datagen.pair_figures import JudgeFigures, PairFigures
from datagen.pair_making import Made, make_pair
from datagen.preferences import JudgeMode, Method, Place, PreferenceSettings, usable_turns
from datagen.production import Production
from datagen.prompting import Style
from datagen.scripted import Line, worked_example
from datagen.speaking import Speaker
from judging.prompting import judging_digests
from validation.schemas import Conversation, Language, PreferencePair, Quarantined

PREFERENCES_VERSION = 4
UNBALANCED = "pairs.jsonl"


def preference_roles(settings: PreferenceSettings, access: LlmAccess) -> tuple[AgentRole, ...]:
    """The roles that are asked.

    Raises ConfigurationError and JudgeError where the endpoints cannot do what is asked for.
    """
    check_policy(settings, access)
    judged = judge_mode(settings, access) != "rules"
    return ("doctor", "teacher", "judge") if judged else ("doctor", "teacher")


def preferences_key(settings: PreferenceSettings, access: LlmAccess) -> GenerationKey:
    """What the step that `build_preferences` is, is known by."""
    roles = preference_roles(settings, access)
    key = step_key(settings, access, roles, access.languages(roles), word_lists=(ERRORS_FILE,))
    prompts = key.prompts | judging_digests(settings.rubric)
    return key.model_copy(update={"prompts": prompts})


def build_preferences(
    settings: PreferenceSettings, access: LlmAccess, workspace: Workspace
) -> Built:
    """Make pairs from the input `conversations`.

    Writes `preferences.jsonl`, `failed.jsonl` (ties too) and `judgements.jsonl`. Raises
    DamagedInput, ConfigurationError, JudgingError, and the endpoint errors that end a run.
    """
    folder = workspace.inputs["conversations"]
    cases = read_cases(folder)
    mode = judge_mode(settings, access)
    roles = preference_roles(settings, access)
    languages = access.languages(roles)
    style = access.shares("doctor")[0].endpoint.style
    conversations, tried, total = _count_places(folder, cases, settings, style, languages)
    work = Production(access, roles, "pairs", workspace.progress)
    made_first = workspace.state / UNBALANCED if settings.max_length_bias else None
    kept = _Kept()
    with (
        LineWriter(made_first or workspace.out / PREFERENCES) as pairs,
        LineWriter(workspace.out / FAILED) as failed,
        LineWriter(workspace.out / JUDGEMENTS) as judgements,
    ):

        def keep(made: Made) -> None:
            for line in made.lines:
                judgements.write(line)
            kept.judges.add(made.lines)
            kept.ties += made.tie
            (failed if isinstance(made.outcome, Quarantined) else pairs).write(made.outcome)
            if isinstance(made.outcome, Quarantined):
                kept.outturn.add_failed(made.outcome.fault)
            elif made_first is None:
                kept.add(made.outcome)

        talks = read_conversations(folder)
        places = find_places(talks, cases, settings, style, languages)
        work.run(places, total, partial(_pair, settings, mode), keep)
    if made_first is not None and settings.max_length_bias is not None:
        _balance(made_first, workspace.out, settings.max_length_bias, kept)
    more: dict[str, JsonValue] = {
        "judge": mode,
        "conversations": conversations,
        "without_pair_tried": conversations - tried,
    }
    return kept.outturn.built(work.meter, kept.summary() | more)


def _count_places(
    folder: Path,
    cases: Mapping[str, Case],
    settings: PreferenceSettings,
    style: Style,
    languages: tuple[Language, ...],
) -> tuple[int, int, int]:
    """Conversations, those of them from which a pair is tried, and places in all.

    Raises DamagedInput where a talk's case is absent.
    """
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
    return conversations, tried, total


@dataclass
class _Kept:
    """What is counted of pairs and judgements."""

    outturn: Outturn = field(default_factory=Outturn)
    pairs: PairFigures = field(default_factory=PairFigures)
    judges: JudgeFigures = field(default_factory=JudgeFigures)
    ties: int = 0

    def add(self, pair: PreferencePair) -> None:
        self.outturn.add(pair.language)
        method = pair.source.partition("/")[0]
        self.pairs.add(method, pair.fault_type, pair.verified, pair.length_difference or 0)

    def summary(self) -> dict[str, JsonValue]:
        types = sum((types for types in self.pairs.by_method.values()), Counter[str]())
        own: dict[str, JsonValue] = {
            "fault_types": dict(sorted(types.items())),
            "ties": {"kept": self.ties, "dropped": self.outturn.failed["tie"]},
            "judges": self.judges.summary(),
        }
        return own | self.pairs.summary()


def _balance(made: Path, out: Path, most: float, kept: _Kept) -> None:
    """Write the pairs that keep the balance of length, and quarantine the others."""
    surplus = too_many(read_lines(made, PreferencePair), most)
    with (
        LineWriter(out / PREFERENCES) as pairs,
        LineWriter(out / FAILED, add=True) as failed,
    ):
        for pair in read_lines(made, PreferencePair):
            if pair.record_id not in surplus:
                pairs.write(pair)
                kept.add(pair)
                continue
            row = Quarantined(
                raw=pair.model_dump_json(),
                fault="length_balance",
                detail=f"more than {most:g} of the pairs would have the same side longer",
                origin=pair.case_id,
            )
            failed.write(row)
            kept.outturn.add_failed(row.fault)


async def _pair(settings: PreferenceSettings, mode: JudgeMode, place: Place, cast: Cast) -> Made:
    return await make_pair(place, settings, mode, Speaker(cast))


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
