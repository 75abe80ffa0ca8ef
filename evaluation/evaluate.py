"""Evaluate one model: `build_evaluation` measures it on every benchmark and keeps each item."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt, field_validator

from artifacts.progress import Progress, ProgressSink
from artifacts.step import Built, Workspace
from artifacts.store import write_atomically
from evaluation import benchmarks
from evaluation.benchmarks import MEASURES, Prepared
from evaluation.errors import MissingInput, QuestionError
from evaluation.items import (
    BENCHMARKS,
    ITEMS_NAME,
    LEFT_OUT_NAME,
    METRICS,
    Benchmark,
    Item,
    write_items,
)
from evaluation.model import Subject, load, subject_of
from evaluation.questions import LANGUAGES, questions_digest, read_questions
from evaluation.samples import SAMPLES_NAME, SampleReply, choose_prompts, write_replies
from evaluation.scores import ALL, score_lines
from validation.schemas import Frozen, Language

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STEP_VERSION = 2
SUMMARY_NAME = "summary.json"


class EvaluateSettings(Frozen):
    """What a model is measured on.

    `samples`: how many held-out talks per language the model also answers in words, greedily
    (none where the held-out benchmark is left out).
    Rows longer than `max_length_tokens` are left out, counted and written to
    `left_out.jsonl`. `questions_digest` is worked out: with it, changed questions are
    measured anew. `threads` is keyed: sums of floats depend on it in their last bits.
    """

    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1)] = BENCHMARKS
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = LANGUAGES
    max_length_tokens: PositiveInt = 1024
    samples: Annotated[int, Field(ge=0)] = 2
    sample_tokens: PositiveInt = 60
    threads: PositiveInt = 2
    questions_digest: str = Field(default_factory=questions_digest)

    @field_validator("benchmarks", "languages")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"named twice: {list(names)}")
        return names


def build_evaluation(settings: EvaluateSettings, workspace: Workspace) -> Built:
    """Measure the model of the inputs `model`, `checkpoint_0`, … on the input `dataset`.

    Writes `items.parquet`, `summary.json`, `samples.jsonl` and `left_out.jsonl`. What is
    measured stays in the state folder, benchmark by benchmark, for another attempt.
    Raises EmptyBenchmark, MissingInput, QuestionError and EngineError.
    """
    from engines.loading import load_tokenizer

    subject = subject_of(workspace.inputs)
    if "dataset" not in workspace.inputs:
        raise MissingInput("an evaluation needs the input 'dataset'")
    tokenizer = load_tokenizer(subject.base)
    materials = _prepare(settings, tokenizer, workspace.inputs["dataset"])
    run = _Run(settings, subject, workspace, materials)
    items = [item for name in settings.benchmarks for item in run.measured(name)]
    replies = run.replies()
    left_out = [row for material in materials.values() for row in material.left_out]
    _clear(workspace.out)
    write_items(workspace.out / ITEMS_NAME, items)
    write_replies(workspace.out / SAMPLES_NAME, replies)
    lines = "".join(row.model_dump_json() + "\n" for row in left_out)
    write_atomically(workspace.out / LEFT_OUT_NAME, lines)
    summary = _summary(settings, subject, items)
    write_atomically(workspace.out / SUMMARY_NAME, json.dumps(summary, indent=1) + "\n")
    accepted = sum(len(material.subjects) for material in materials.values())
    return Built(
        counts={
            "rows_in": accepted + len(left_out),
            "accepted": accepted,
            "quarantined": len(left_out),
        },
        summary={"model": subject.name, **_headlines(items)},
    )


class _Run:
    """One evaluation under way: loads the model when something is not yet measured."""

    def __init__(
        self,
        settings: EvaluateSettings,
        subject: Subject,
        workspace: Workspace,
        materials: dict[Benchmark, Prepared],
    ) -> None:
        self._settings = settings
        self._subject = subject
        self._workspace = workspace
        self._materials = materials
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None
        self._ticker = _Ticker(workspace.progress, sum(len(m.subjects) for m in materials.values()))

    def measured(self, name: Benchmark) -> list[Item]:
        """A benchmark's items: kept by an earlier attempt, or measured now."""
        material = self._materials[name]
        self._ticker.note = name

        def measure() -> list[Any]:
            model, _ = self._model()
            items = MEASURES[name](model, material, self._ticker.tick)
            return [item.model_dump(mode="json") for item in items]

        kept = self._kept(name, measure)
        self._ticker.reach(len(material.subjects))
        return [Item.model_validate(row) for row in kept]

    def replies(self) -> list[SampleReply]:
        """The model's words after the same prompts as every other model's."""
        if not self._settings.samples or "held_out" not in self._materials:
            return []
        prompts = choose_prompts(self._materials["held_out"].subjects, self._settings.samples)

        def answer() -> list[Any]:
            from engines.generation import Sampling, reply

            sampling = Sampling(max_new_tokens=self._settings.sample_tokens)
            texts = reply(*self._model(), [p.messages() for p in prompts], sampling)
            filled = zip(prompts, texts, strict=True)
            return [p.model_copy(update={"reply": t}).model_dump(mode="json") for p, t in filled]

        return [SampleReply.model_validate(row) for row in self._kept("samples", answer)]

    def _kept(self, name: str, make: Callable[[], list[Any]]) -> list[Any]:
        path = self._workspace.state / f"{name}.json"
        if not path.is_file():
            write_atomically(path, json.dumps(make(), ensure_ascii=False))
        rows: list[Any] = json.loads(path.read_text(encoding="utf-8"))
        return rows

    def _model(self) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        if self._loaded is None:
            self._loaded = load(self._subject)
        return self._loaded


class _Ticker:
    """Counts measured items over all benchmarks and reports them."""

    def __init__(self, sink: ProgressSink, total: int) -> None:
        self._sink = sink
        self._total = total
        self._before = 0
        self._done = 0
        self.note = ""

    def tick(self) -> None:
        """One more item is measured."""
        self._done += 1
        self._sink(Progress(self._done, self._total, "items", note=self.note))

    def reach(self, items: int) -> None:
        """A benchmark of so many items is complete, whoever measured it."""
        self._before += items
        self._done = self._before
        self._sink(Progress(self._done, self._total, "items", note=self.note))


def _prepare(
    settings: EvaluateSettings, tokenizer: "PreTrainedTokenizerBase", dataset: Path
) -> dict[Benchmark, Prepared]:
    limit = settings.max_length_tokens
    materials: dict[Benchmark, Prepared] = {}
    if "held_out" in settings.benchmarks:
        rows = benchmarks.read_split(dataset, "sft")
        materials["held_out"] = benchmarks.prepare_held_out(tokenizer, rows, limit)
    if "questions" in settings.benchmarks:
        if settings.questions_digest != questions_digest():
            raise QuestionError(
                "the questions are not those that these settings name (questions_digest): leave "
                "it out of the settings to have it worked out"
            )
        questions = read_questions(settings.languages)
        materials["questions"] = benchmarks.prepare_questions(tokenizer, questions)
    if "preference" in settings.benchmarks:
        rows = benchmarks.read_split(dataset, "preference")
        materials["preference"] = benchmarks.prepare_preference(tokenizer, rows, limit)
    return materials


def _clear(folder: Path) -> None:
    """Remove what a killed attempt left."""
    for child in folder.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def _summary(settings: EvaluateSettings, subject: Subject, items: list[Item]) -> dict[str, Any]:
    lines = score_lines({subject.name: items})
    return {
        "model": subject.name,
        "stages": list(subject.stages),
        "settings": settings.model_dump(mode="json"),
        "scores": [line.model_dump(mode="json") for line in lines],
    }


def _headlines(items: list[Item]) -> dict[str, Any]:
    """The primary figures by benchmark, for people who look at the step."""
    primary = {(m.benchmark, m.name) for m in METRICS if m.primary}
    return {
        f"{line.benchmark}.{line.metric}": round(line.mean, 4)
        for line in score_lines({"model": items})
        if line.language == ALL and (line.benchmark, line.metric) in primary
    }
