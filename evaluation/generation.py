"""The generation report: what was made, from what, how varied, with which faults, at what price.

Reads the artifacts of generation as files; what it tells can be worked out from them again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from artifacts.manifest import MANIFEST_NAME, Manifest, read_manifest
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from artifacts.store import write_atomically
from evaluation.coverage import Coverage, coverage_of, read_case_facts
from evaluation.errors import MissingInput, NotEnoughData
from evaluation.human_talk import HumanTalk, human_talk, read_human_talk
from evaluation.talk_figures import Talk, TalkFigures, figures_of
from validation.report import DatasetReport, read_report
from validation.schemas import Conversation, Frozen, Language, Quarantined

GENERATION_VERSION = 1
PAGE_NAME = "generation.html"
NUMBERS_NAME = "generation.json"
EXAMPLES = 2
SHOWN_CHARACTERS = 600
HUMAN = "human"


class GenerationReportSettings(Frozen):
    """What the report compares with, and the language of its words.

    `human` stands for the content of `human_path`, a file of talks that people had.
    """

    language: Language = "en"
    human: HumanTalk | None = None
    human_path: Path | None = Field(None, json_schema_extra={"result_neutral": True})


def generation_report_settings(
    language: Language, human_path: Path | None
) -> GenerationReportSettings:
    """Settings with the file of human talk as it is now. Raises MissingInput."""
    if human_path is None:
        return GenerationReportSettings(language=language)
    return GenerationReportSettings(
        language=language, human=human_talk(human_path), human_path=human_path.absolute()
    )


class FaultExample(Frozen):
    """One row with a fault: where, what a check said, and the words at fault."""

    origin: str
    language: str
    detail: str
    text: str


class FaultLine(Frozen):
    """One kind of fault: rows that have it, and some of them."""

    name: str
    rows: int
    examples: tuple[FaultExample, ...]


class StepCost(Frozen):
    """What one step made, and what that took; `kept`: rows of it in the data set.

    `kept` is None where that is not known (no data set was given).
    """

    step: str
    made: int
    quarantined: int
    kept: int | None
    calls: int
    from_journal: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float
    retried: dict[str, int]


class GenerationNumbers(Frozen):
    """All figures of the page."""

    coverage: Coverage
    figures: dict[str, dict[Language, TalkFigures]]
    too_few: tuple[str, ...]
    talks_with_faults: int
    talk_faults: tuple[FaultLine, ...]
    quarantined: tuple[FaultLine, ...]
    steps: tuple[StepCost, ...]
    dataset_faults: dict[str, int]
    preferences: dict[str, JsonValue]
    human_unusable: int


def build_generation_report(settings: GenerationReportSettings, workspace: Workspace) -> Built:
    """Write `generation.html` (volatile: it holds times) and `generation.json`.

    Inputs: `conversations`, and where there are any `preferences`, `dataset` and others with a
    manifest, whose cost is then told. Raises MissingInput, NotEnoughData.
    """
    from evaluation.generation_page import generation_page

    workspace.progress(Progress(0, 2, "parts", note="counting"))
    numbers = gather_numbers(settings, workspace.inputs)
    workspace.progress(Progress(1, 2, "parts", note="writing the page"))
    page = generation_page(numbers, settings.language)
    write_atomically(workspace.out / PAGE_NAME, page)
    write_atomically(workspace.out / NUMBERS_NAME, numbers.model_dump_json(indent=1) + "\n")
    workspace.progress(Progress(2, 2, "parts"))
    return Built(
        counts={"conversations": sum(numbers.coverage.languages.values())},
        summary={"faults": {line.name: line.rows for line in numbers.talk_faults}},
        volatile=(PAGE_NAME, NUMBERS_NAME),
    )


def gather_numbers(
    settings: GenerationReportSettings, inputs: Mapping[str, Path]
) -> GenerationNumbers:
    """All figures. Raises MissingInput."""
    if "conversations" not in inputs:
        raise MissingInput("a generation report needs the input 'conversations'")
    folder = inputs["conversations"]
    dataset = read_report(inputs["dataset"]) if "dataset" in inputs else None
    cases = read_case_facts(folder / "cases.jsonl")
    groups = {
        "generated": _talks(folder / "conversations.jsonl"),
        "scripted": _talks(folder / "scripted.jsonl"),
    }
    unusable = 0
    if settings.human_path is not None:
        reading = read_human_talk(settings.human_path)
        groups[HUMAN] = iter(reading.talks)
        unusable = len(reading.unusable)
    figures = figures_of(groups)
    made, with_faults = Counter[str](), 0
    for talk in _conversations(folder / "conversations.jsonl"):
        made[talk.case_id] += 1
        with_faults += bool(talk.faults)
    if not made:
        raise NotEnoughData(f"{folder} holds no conversation, so there is nothing to report")
    return GenerationNumbers(
        coverage=coverage_of(made.elements(), cases),
        figures=figures,
        too_few=tuple(name for name in groups if not figures[name]),
        talks_with_faults=with_faults,
        talk_faults=_talk_faults(folder / "conversations.jsonl"),
        quarantined=_quarantined({n: f for n, f in inputs.items() if n != "dataset"}),
        steps=tuple(_steps(inputs, dataset)),
        dataset_faults=dataset.total.faults if dataset else {},
        preferences=_summary(inputs["preferences"]) if "preferences" in inputs else {},
        human_unusable=unusable,
    )


def _talks(path: Path) -> Iterator[Talk]:
    for talk in _conversations(path):
        yield Talk(language=talk.language, group=talk.case_id, messages=talk.messages)


def _conversations(path: Path) -> Iterator[Conversation]:
    if not path.is_file():
        raise MissingInput(f"{path} is not there: generate the conversations again")
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield Conversation.model_validate_json(line)


def _talk_faults(path: Path) -> tuple[FaultLine, ...]:
    """Faults that the checks found in talks; a talk counts once a kind."""
    rows: Counter[str] = Counter()
    examples: dict[str, list[FaultExample]] = {}
    for talk in _conversations(path):
        for fault in {f.name: f for f in reversed(talk.faults)}.values():
            rows[fault.name] += 1
            shown = examples.setdefault(fault.name, [])
            if len(shown) < EXAMPLES:
                words = "" if fault.message_index is None else _words(talk, fault.message_index)
                shown.append(
                    FaultExample(
                        origin=f"{talk.case_id}/{talk.sample_index}",
                        language=talk.language,
                        detail=fault.detail,
                        text=words,
                    )
                )
    return _lines(rows, examples)


def _words(talk: Conversation, index: int) -> str:
    return _cut(talk.messages[index].content) if index < len(talk.messages) else ""


def _quarantined(folders: Mapping[str, Path]) -> tuple[FaultLine, ...]:
    """Rows that could not be made at all, of every step, by fault."""
    rows: Counter[str] = Counter()
    examples: dict[str, list[FaultExample]] = {}
    for folder in folders.values():
        path = folder / "failed.jsonl"
        if not path.is_file():
            continue
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                row = Quarantined.model_validate_json(line)
                rows[row.fault] += 1
                shown = examples.setdefault(row.fault, [])
                if len(shown) < EXAMPLES:
                    language = str(_read(row.raw).get("language", ""))
                    shown.append(
                        FaultExample(
                            origin=row.origin,
                            language=language,
                            detail=_cut(row.detail),
                            text=_cut(row.raw),
                        )
                    )
    return _lines(rows, examples)


def _read(raw: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _lines(rows: Counter[str], examples: Mapping[str, list[FaultExample]]) -> tuple[FaultLine, ...]:
    ordered = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    return tuple(FaultLine(name=n, rows=c, examples=tuple(examples[n])) for n, c in ordered)


def _steps(inputs: Mapping[str, Path], dataset: DatasetReport | None) -> Iterator[StepCost]:
    for name, folder in inputs.items():
        manifest = _manifest(folder)
        if name == "dataset" or manifest is None or "calls" not in manifest.summary:
            continue
        summary: dict[str, Any] = dict(manifest.summary)
        yield StepCost(
            step=manifest.step,
            made=manifest.counts["accepted"],
            quarantined=manifest.counts["quarantined"],
            kept=_kept(folder, dataset),
            calls=summary["calls"],
            from_journal=summary["from_journal"],
            prompt_tokens=summary["prompt_tokens"],
            completion_tokens=summary["completion_tokens"],
            cost_usd=manifest.cost_usd,
            seconds=manifest.seconds,
            retried=summary.get("faults_met", {}),
        )


def _kept(folder: Path, dataset: DatasetReport | None) -> int | None:
    """Rows of a step that stand in the data set, told by their sources."""
    if dataset is None:
        return None
    sources = set()
    for path in folder.glob("*.jsonl"):
        if path.name in ("failed.jsonl", "scripted.jsonl", "cases.jsonl", "judgements.jsonl"):
            continue
        with path.open(encoding="utf-8") as stream:
            sources |= {str(json.loads(line).get("source", "")) for line in stream}
    return sum(t.accepted for source, t in dataset.sources.items() if source in sources)


def _summary(folder: Path) -> dict[str, JsonValue]:
    manifest = _manifest(folder)
    return dict(manifest.summary) if manifest else {}


def _manifest(folder: Path) -> Manifest | None:
    path = folder / MANIFEST_NAME
    return read_manifest(path) if path.is_file() else None


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
