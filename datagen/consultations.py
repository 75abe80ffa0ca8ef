"""The step that makes conversations: cases → conversations, as files.

Every request goes through the journal, so a step that was killed goes on where it was.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

from pydantic import Field, PositiveInt

from artifacts.digest import digest_json, digest_model
from artifacts.step import Built, Workspace
from datagen.access import AgentRole, Cast, LlmAccess
from datagen.cases import Case, LibraryChoice, read_libraries
from datagen.conversation_checks import TalkCheckSettings, with_faults
from datagen.errors import NothingToGenerate
from datagen.files import CASES, CONVERSATIONS, FAILED, SCRIPTED, LineWriter, write_lines
from datagen.identity import GenerationKey, Outturn, step_key
from datagen.personas import PersonaSettings, draw_persona, persona_files
from datagen.production import Production
from datagen.prompting import Style
from datagen.scripted import scripted_consultation, worked_examples
from datagen.simulation import Ask, TalkSettings, simulate
from datagen.speaking import Speaker
from validation.schemas import Conversation, Frozen, Language, Quarantined

CONVERSATIONS_VERSION = 3


class GenerateSettings(Frozen):
    """Which conversations are made.

    `languages`: those of them that the endpoints can talk in. `cases_per_language` None: all
    of the library. `rows`: so many conversations in all, spread over the cases (None:
    `conversations_per_case` of each); one more changes none of the others. `style` None: each
    endpoint's own. `library`: another folder of cases, or several of which `packaged` may
    be one; what they hold counts, not where they stand.
    """

    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en", "zh")
    cases_per_language: PositiveInt | None = None
    conversations_per_case: PositiveInt = 2
    rows: PositiveInt | None = None
    talk: TalkSettings = TalkSettings()
    personas: PersonaSettings = PersonaSettings()
    checks: TalkCheckSettings = TalkCheckSettings()
    style: Style | None = None
    library: LibraryChoice = Field(None, json_schema_extra={"result_neutral": True})


def conversation_roles(settings: GenerateSettings) -> tuple[AgentRole, ...]:
    """The roles that are asked."""
    return ("doctor", "patient")


def conversations_key(settings: GenerateSettings, access: LlmAccess) -> GenerationKey:
    """What the step that `build_conversations` is, is known by."""
    return step_key(
        settings,
        access,
        conversation_roles(settings),
        settings.languages,
        word_lists=persona_files(settings.personas),
        cases={case.case_id: digest_model(case) for case in usable_library(settings, access)},
        style=settings.style,
    )


def build_conversations(
    settings: GenerateSettings, access: LlmAccess, workspace: Workspace
) -> Built:
    """Simulate the talks and check them.

    Writes `conversations.jsonl` (also talks with faults), `failed.jsonl`, `scripted.jsonl`
    and `cases.jsonl`. Raises NothingToGenerate and the endpoint errors that end a run.
    """
    library = usable_library(settings, access)
    cases = choose_cases(library, settings)
    write_lines(workspace.out / CASES, cases)
    outturn, faults, clean = Outturn(), Counter[str](), 0
    roles = conversation_roles(settings)
    work = Production(access, roles, "conversations", workspace.progress)
    with (
        LineWriter(workspace.out / CONVERSATIONS) as talks,
        LineWriter(workspace.out / FAILED) as failed,
        LineWriter(workspace.out / SCRIPTED) as scripted,
    ):

        def keep(made: Conversation | Quarantined) -> None:
            nonlocal clean
            if isinstance(made, Quarantined):
                failed.write(made)
                outturn.add_failed(made.fault)
                return
            talks.write(made)
            outturn.add(made.language)
            faults.update({fault.name for fault in made.faults})
            clean += not made.faults

        total = sum(talks_per_case(cases, settings).values())
        talks_asked = talks_to_make(cases, library, settings)
        control = (with_faults(scripted_consultation(c), c, settings.checks) for c in cases)
        written = map(scripted.write, control)
        work.run(talks_asked, total, partial(_talk, settings), keep, meanwhile=written)
    return outturn.built(
        work.meter,
        {"faults": dict(sorted(faults.items())), "without_faults": clean, "cases": len(cases)},
    )


async def _talk(settings: GenerateSettings, ask: Ask, cast: Cast) -> Conversation | Quarantined:
    made = await simulate(ask, settings.talk, Speaker(cast, settings.style))
    if isinstance(made, Quarantined):
        return made
    return with_faults(made, ask.case, settings.checks)


def talks_to_make(
    cases: Sequence[Case], library: Sequence[Case], settings: GenerateSettings
) -> Iterator[Ask]:
    """Every talk, in the order of cases and samples."""
    examples = worked_examples(library, settings.talk.doctor_turns - 1)
    numbers = talks_per_case(cases, settings)
    for case in cases:
        example = examples[case.case_id]
        for index in range(numbers[case.case_id]):
            persona = draw_persona(
                case.case_id, index, settings.talk.seed, settings.personas, case.patient.speaker
            )
            yield Ask(case=case, persona=persona, sample_index=index, example=example)


def talks_per_case(cases: Sequence[Case], settings: GenerateSettings) -> dict[str, int]:
    """How many talks each case gets, by case_id.

    Rows go round the cases in an order that alternates the languages and is drawn by the seed,
    so that a few rows are already a cross-section.
    """
    if settings.rows is None:
        return {case.case_id: settings.conversations_per_case for case in cases}
    places: dict[str, tuple[int, str]] = {}
    for language in sorted({case.language for case in cases}):
        ids = [case.case_id for case in cases if case.language == language]
        drawn = sorted(ids, key=lambda i: digest_json([settings.talk.seed, "round", i]))
        places |= {case_id: (place, case_id) for place, case_id in enumerate(drawn)}
    order = sorted(places, key=lambda case_id: places[case_id])
    each, more = divmod(settings.rows, len(order))
    return {case_id: each + (place < more) for place, case_id in enumerate(order)}


def choose_cases(library: Sequence[Case], settings: GenerateSettings) -> tuple[Case, ...]:
    """The cases that serve, in order of case_id: so many a language, drawn by the seed."""
    chosen: list[Case] = []
    for language in dict.fromkeys(case.language for case in library):
        cases = [case for case in library if case.language == language]
        drawn = sorted(cases, key=lambda c: digest_json([settings.talk.seed, c.case_id]))
        chosen += drawn[: settings.cases_per_language]
    return tuple(sorted(chosen, key=lambda c: c.case_id))


def usable_library(settings: GenerateSettings, access: LlmAccess) -> tuple[Case, ...]:
    """The cases in languages that are wanted and that the endpoints can talk in.

    Raises NothingToGenerate where there is none.
    """
    spoken = access.languages(conversation_roles(settings))
    languages = [language for language in settings.languages if language in spoken]
    if not languages:
        raise NothingToGenerate(
            f"endpoint '{access.endpoint.name}' talks in {list(spoken)}, but conversations "
            f"in {list(settings.languages)} are wanted: change generate.languages, or choose "
            "another endpoint"
        )
    every = read_libraries(settings.library)
    library = tuple(case for case in every if case.language in languages)
    if not library:
        raise NothingToGenerate(f"the library of cases holds none in {languages}: add some")
    return library
