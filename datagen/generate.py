"""The two steps of data generation: cases → conversations, conversations → preference pairs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field, JsonValue, PositiveInt

from artifacts.digest import digest_json, digest_model
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from datagen.cases import Case, read_library
from datagen.conversation_checks import TalkCheckSettings, with_faults
from datagen.errors import DamagedInput, NothingToGenerate
from datagen.files import read_cases, read_conversations, write_lines
from datagen.personas import FILE as PERSONAS_FILE
from datagen.personas import draw_persona
from datagen.pool import run_bounded
from datagen.preferences import (
    ERRORS_FILE,
    Method,
    Place,
    PreferenceSettings,
    make_pair,
    usable_turns,
)
from datagen.prompting import Style, prompt_digests
from datagen.scripted import scripted_consultation, worked_example
from datagen.simulation import Ask, TalkSettings, simulate
from datagen.speaking import Meter, Speaker
from endpoints.budget import Budget
from endpoints.embedded import open_client
from endpoints.journal import Journal
from endpoints.settings import EndpointSettings, find_endpoint, read_endpoints
from validation.schemas import Conversation, Frozen, Language, PreferencePair, Quarantined

CONVERSATIONS_VERSION = 2
PREFERENCES_VERSION = 2
# Coroutines per request slot: enough that a slot never waits for the next talk to begin. The
# embedded server keeps one talk's prompt a slot, so there a talk keeps its slot to the end.
TALKS_PER_SLOT = 2
TALKS_PER_EMBEDDED_SLOT = 1

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT", Conversation | Quarantined, PreferencePair | Quarantined)


class GenerateSettings(Frozen):
    """Which conversations are made.

    `languages`: those of them that the endpoint can talk in. `cases_per_language` None: all
    of the library. `style` None: the endpoint's. `library`: another folder of cases; what it
    holds counts, not where it stands.
    """

    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en", "zh")
    cases_per_language: PositiveInt | None = None
    conversations_per_case: PositiveInt = 2
    talk: TalkSettings = TalkSettings()
    checks: TalkCheckSettings = TalkCheckSettings()
    style: Style | None = None
    library: Path | None = Field(None, json_schema_extra={"result_neutral": True})


class LlmAccess(Frozen):
    """The endpoint, where its answers are kept, and what may be spent (None: no cap)."""

    endpoint: EndpointSettings
    journal: Path
    budget_usd: float | None = None

    @classmethod
    def of(
        cls, name: str, endpoints_file: Path | None, journal: Path, budget_usd: float | None
    ) -> Self:
        """Access to the endpoint of that name. Raises ConfigurationError where there is none."""
        endpoint = find_endpoint(read_endpoints(endpoints_file), name)
        return cls(endpoint=endpoint, journal=journal, budget_usd=budget_usd)


class GenerationKey(Frozen):
    """All that decides what a step of generation makes: its settings, and what they stand on.

    `prompts` holds the digests of prompts and word lists, `cases` those of the cases.
    """

    settings: GenerateSettings | PreferenceSettings
    endpoint: EndpointSettings
    prompts: dict[str, str]
    cases: dict[str, str] = Field(default_factory=dict)


def conversations_key(settings: GenerateSettings, access: LlmAccess) -> GenerationKey:
    """The settings of the step that `build_conversations` is."""
    endpoint = access.endpoint
    prompts = prompt_digests(settings.style or endpoint.style, settings.languages)
    return GenerationKey(
        settings=settings,
        endpoint=endpoint,
        prompts=prompts | _file_digest(PERSONAS_FILE),
        cases={case.case_id: digest_model(case) for case in _library(settings, endpoint)},
    )


def preferences_key(settings: PreferenceSettings, access: LlmAccess) -> GenerationKey:
    """The settings of the step that `build_preferences` is."""
    endpoint = access.endpoint
    prompts = prompt_digests(endpoint.style, endpoint.languages)
    prompts |= prompt_digests("chat", endpoint.languages)  # rewrites are asked for in chat style
    return GenerationKey(
        settings=settings, endpoint=endpoint, prompts=prompts | _file_digest(ERRORS_FILE)
    )


def build_conversations(
    settings: GenerateSettings, access: LlmAccess, workspace: Workspace
) -> Built:
    """Simulate the talks and check them.

    Writes `conversations.jsonl` (also talks with faults), `failed.jsonl`, `scripted.jsonl`
    and `cases.jsonl`. Raises NothingToGenerate and the endpoint errors that end a run.
    """
    library = _library(settings, access.endpoint)
    cases = choose_cases(library, settings)
    questions = settings.talk.doctor_turns - 1
    asks = [
        Ask(
            case=case,
            persona=draw_persona(case.case_id, index, settings.talk.seed),
            sample_index=index,
            example=worked_example(case, library, questions),
        )
        for case in cases
        for index in range(settings.conversations_per_case)
    ]

    async def talk(ask: Ask, speaker: Speaker) -> Conversation | Quarantined:
        made = await simulate(ask, settings.talk, speaker)
        if isinstance(made, Quarantined):
            return made
        return with_faults(made, ask.case, settings.checks)

    style = settings.style or access.endpoint.style
    meter = Meter()
    results = _run(access, style, asks, talk, meter, workspace, "conversations")
    talks = [r for r in results if isinstance(r, Conversation)]
    failed = [r for r in results if isinstance(r, Quarantined)]
    write_lines(workspace.out / "conversations.jsonl", talks)
    write_lines(workspace.out / "failed.jsonl", failed)
    control = [with_faults(scripted_consultation(c), c, settings.checks) for c in cases]
    write_lines(workspace.out / "scripted.jsonl", control)
    write_lines(workspace.out / "cases.jsonl", cases)
    faults = Counter(name for t in talks for name in {f.name for f in t.faults})
    summary = _summary(meter, talks, failed) | {
        "faults": dict(sorted(faults.items())),
        "without_faults": sum(not t.faults for t in talks),
        "cases": len(cases),
    }
    return _built(meter, len(talks), len(failed), summary)


def build_preferences(
    settings: PreferenceSettings, access: LlmAccess, workspace: Workspace
) -> Built:
    """Make pairs from the input `conversations`.

    Writes `preferences.jsonl` and `failed.jsonl` (ties too). Raises DamagedInput,
    NothingToGenerate and the endpoint errors that end a run.
    """
    folder = workspace.inputs["conversations"]
    cases = read_cases(folder)
    every = read_conversations(folder)
    if strangers := sorted({talk.case_id for talk in every} - set(cases)):
        raise DamagedInput(
            f"{folder} lacks the cases {strangers}: generate the conversations again"
        )
    talks = [talk for talk in every if talk.language in access.endpoint.languages]
    places = find_places(talks, cases, settings, access.endpoint.style)

    async def pair(place: Place, speaker: Speaker) -> PreferencePair | Quarantined:
        return await make_pair(place, settings, speaker)

    meter = Meter()
    results = _run(access, access.endpoint.style, places, pair, meter, workspace, "pairs")
    pairs = [r for r in results if isinstance(r, PreferencePair)]
    failed = [r for r in results if isinstance(r, Quarantined)]
    write_lines(workspace.out / "preferences.jsonl", pairs)
    write_lines(workspace.out / "failed.jsonl", failed)
    summary = _summary(meter, pairs, failed) | {
        "fault_types": dict(sorted(Counter(p.fault_type for p in pairs).items())),
        "conversations": len(every),
        "without_pair_tried": len(every) - len({place.talk.record_id for place in places}),
    }
    return _built(meter, len(pairs), len(failed), summary)


def choose_cases(library: Sequence[Case], settings: GenerateSettings) -> tuple[Case, ...]:
    """The cases that serve, in order of case_id: so many a language, drawn by the seed."""
    chosen: list[Case] = []
    for language in dict.fromkeys(case.language for case in library):
        cases = [case for case in library if case.language == language]
        drawn = sorted(cases, key=lambda c: digest_json([settings.talk.seed, c.case_id]))
        chosen += drawn[: settings.cases_per_language]
    return tuple(sorted(chosen, key=lambda c: c.case_id))


def find_places(
    talks: Sequence[Conversation],
    cases: Mapping[str, Case],
    settings: PreferenceSettings,
    style: Style,
) -> list[Place]:
    """Every turn from which a pair shall be made, in order of talk, turn and method."""
    by_style: tuple[Method, ...] = ("sampled", "typed_error") if style == "chat" else ("sampled",)
    library = tuple(cases.values())
    return [
        Place(
            talk=talk,
            case=cases[talk.case_id],
            turn=turn,
            method=method,
            example=worked_example(cases[talk.case_id], library, _questions(talk)),
        )
        for talk in talks
        for turn in usable_turns(talk, settings)
        for method in settings.methods or by_style
    ]


def _questions(talk: Conversation) -> int:
    return sum(m.role == "assistant" for m in talk.messages) - 1


def _library(settings: GenerateSettings, endpoint: EndpointSettings) -> tuple[Case, ...]:
    languages = [lang for lang in settings.languages if lang in endpoint.languages]
    if not languages:
        raise NothingToGenerate(
            f"endpoint '{endpoint.name}' talks in {list(endpoint.languages)}, but conversations "
            f"in {list(settings.languages)} are wanted: change generate.languages, or choose "
            "another endpoint"
        )
    every = read_library(settings.library) if settings.library else read_library()
    library = tuple(case for case in every if case.language in languages)
    if not library:
        raise NothingToGenerate(f"the library of cases holds none in {languages}: add some")
    return library


def _file_digest(path: Path) -> dict[str, str]:
    return {path.name: digest_json(path.read_text(encoding="utf-8"))}


def _run(
    access: LlmAccess,
    style: Style,
    items: Sequence[ItemT],
    work: Callable[[ItemT, Speaker], Awaitable[ResultT]],
    meter: Meter,
    workspace: Workspace,
    unit: str,
) -> list[ResultT]:
    """Do the work of all items through the endpoint; results in the items' order."""
    done = 0

    def report() -> None:
        note = f"{meter.calls} answers, {meter.from_journal} from the journal"
        workspace.progress(Progress(done, len(items), unit, round(meter.spent_usd, 6), note))

    def count(result: ResultT) -> None:
        nonlocal done
        done += 1
        report()

    async def run() -> list[ResultT]:
        with Journal(access.journal) as journal, Budget(journal, access.budget_usd) as budget:
            async with open_client(access.endpoint, journal, budget) as client:
                await client.check()
                speaker = Speaker(client, style, meter)
                a_slot = TALKS_PER_EMBEDDED_SLOT if access.endpoint.embedded else TALKS_PER_SLOT
                at_once = a_slot * access.endpoint.max_in_flight
                return await run_bounded(lambda item: work(item, speaker), items, at_once, count)

    meter.on_call = report
    return asyncio.run(run()) if items else []


def _summary(
    meter: Meter,
    made: Sequence[Conversation] | Sequence[PreferencePair],
    failed: Sequence[Quarantined],
) -> dict[str, JsonValue]:
    return {
        "made": len(made),
        "failed": dict(sorted(Counter(q.fault for q in failed).items())),
        "languages": dict(sorted(Counter(r.language for r in made).items())),
        "calls": meter.calls,
        "from_journal": meter.from_journal,
        "prompt_tokens": meter.prompt_tokens,
        "completion_tokens": meter.completion_tokens,
        "spent_usd": round(meter.spent_usd, 9),
    }


def _built(meter: Meter, made: int, failed: int, summary: dict[str, JsonValue]) -> Built:
    counts = {"rows_in": made + failed, "accepted": made, "quarantined": failed}
    return Built(counts=counts, summary=summary, cost_usd=round(meter.cost_usd, 9))
