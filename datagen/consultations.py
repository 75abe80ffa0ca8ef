"""The step that makes conversations: cases → conversations, as files.

Every request goes through the journal, so a step that was killed goes on where it was.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from artifacts.digest import digest_json, digest_model
from artifacts.step import Built, Workspace
from datagen.access import AgentRole, Cast, LlmAccess
from datagen.agents import patient_view
from datagen.cases import Case, LibraryChoice, read_libraries
from datagen.conversation_checks import TalkCheckSettings, with_faults
from datagen.cues import FILE as CUES_FILE
from datagen.errors import NothingToGenerate
from datagen.files import (
    CASES,
    CONVERSATIONS,
    FAILED,
    PATIENT_SIDE,
    SCRIPTED,
    LineWriter,
    write_lines,
)
from datagen.identity import GenerationKey, Outturn, step_key
from datagen.personas import PersonaSettings, draw_clinician, draw_persona, persona_files
from datagen.production import Production
from datagen.prompting import Style
from datagen.scripted import scripted_consultation, worked_examples
from datagen.sides import patient_side
from datagen.simulation import Ask, TalkSettings
from datagen.speaking import Speaker
from datagen.talks import make_talk, settle, talk_roles
from validation.schemas import Conversation, Frozen, Language, Quarantined

CONVERSATIONS_VERSION = 4


class GenerateSettings(Frozen):
    """Which conversations are made.

    `languages`: those of them that the endpoints can talk in. `cases_per_language` None: all
    of the library. `rows`: so many conversations in all, spread over the cases (None:
    `conversations_per_case` of each); one more changes none of the others. `style` None: each
    endpoint's own. `side`: whose turns the data set shall teach; on the patient's side the
    roles are swapped under the patient's view as a system message. `library`: another folder of
    cases, or several of which `packaged` may be one; what they hold counts, not where they stand.
    """

    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en", "zh")
    cases_per_language: PositiveInt | None = None
    conversations_per_case: PositiveInt = 2
    rows: PositiveInt | None = None
    talk: TalkSettings = TalkSettings()
    personas: PersonaSettings = PersonaSettings()
    checks: TalkCheckSettings = TalkCheckSettings()
    style: Style | None = None
    side: Literal["doctor", "patient", "both"] = "doctor"
    library: LibraryChoice = Field(None, json_schema_extra={"result_neutral": True})


def conversation_roles(settings: GenerateSettings, access: LlmAccess) -> tuple[AgentRole, ...]:
    """The roles that are asked."""
    return talk_roles(settle(settings.talk, access, settings.style))


def conversations_key(settings: GenerateSettings, access: LlmAccess) -> GenerationKey:
    """What the step that `build_conversations` is, is known by."""
    roles = conversation_roles(settings, access)
    return step_key(
        settings,
        access,
        roles,
        settings.languages,
        word_lists=(*persona_files(settings.personas), CUES_FILE),
        cases={case.case_id: digest_model(case) for case in usable_library(settings, access)},
        # Examiner, critic and teacher, and a patient's side, use prompts of the chat style.
        style=settings.style if len(roles) == 2 and settings.side == "doctor" else None,
    )


def build_conversations(
    settings: GenerateSettings, access: LlmAccess, workspace: Workspace
) -> Built:
    """Simulate the talks and check them.

    Writes `conversations.jsonl` (also talks with faults), `patient_side.jsonl` where the side is
    the patient's or both, `failed.jsonl`, `scripted.jsonl` and `cases.jsonl`. Raises
    NothingToGenerate and the endpoint errors that end a run.
    """
    library = usable_library(settings, access)
    cases = choose_cases(library, settings)
    write_lines(workspace.out / CASES, cases)
    outturn, faults, clean, repaired = Outturn(), Counter[str](), 0, 0
    roles = conversation_roles(settings, access)
    work = Production(access, roles, "conversations", workspace.progress)
    with (
        LineWriter(workspace.out / CONVERSATIONS) as talks,
        LineWriter(workspace.out / FAILED) as failed,
        LineWriter(workspace.out / SCRIPTED) as scripted,
        ExitStack() as stack,
    ):
        # A file without rows would promise records of the patient's side.
        sided = settings.side != "doctor"
        patients = stack.enter_context(LineWriter(workspace.out / PATIENT_SIDE)) if sided else None

        def keep(made: tuple[Conversation, ...] | Quarantined) -> None:
            nonlocal clean, repaired
            if isinstance(made, Quarantined):
                failed.write(made)
                outturn.add_failed(made.fault)
                return
            talk, *swapped = made
            talks.write(talk)
            if patients is not None:
                patients.write(swapped[0])
            outturn.add(talk.language)
            faults.update({fault.name for fault in talk.faults})
            clean += not talk.faults
            repaired += talk.repairs > 0

        total = sum(talks_per_case(cases, settings).values())
        talks_asked = talks_to_make(cases, library, settings)
        control = (with_faults(scripted_consultation(c), c, settings.checks) for c in cases)
        written = map(scripted.write, control)
        work.run(talks_asked, total, partial(_talk, settings), keep, meanwhile=written)
    return outturn.built(
        work.meter,
        {
            "faults": dict(sorted(faults.items())),
            "without_faults": clean,
            "repaired": repaired,
            "cases": len(cases),
        },
    )


async def _talk(
    settings: GenerateSettings, ask: Ask, cast: Cast
) -> tuple[Conversation, ...] | Quarantined:
    speaker = Speaker(cast, settings.style)
    made = await make_talk(ask, settings.talk, settings.checks, speaker)
    if isinstance(made, Quarantined):
        return made
    if settings.side == "doctor":
        return (made,)
    return (made, patient_side(made, patient_view(ask.case, ask.persona)))


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
            clinician = draw_clinician(case.case_id, index, settings.talk.seed, settings.personas)
            yield Ask(
                case=case,
                persona=persona,
                sample_index=index,
                example=example,
                clinician=clinician,
            )


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
    spoken = access.languages(conversation_roles(settings, access))
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
