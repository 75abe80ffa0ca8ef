"""The report: one self-contained page and its numbers, out of evaluations and what made them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from artifacts.store import write_atomically
from evaluation import background, page
from evaluation.errors import MissingInput
from evaluation.items import read_items
from evaluation.material import read_curves, read_data, read_left_out, read_sample_replies
from evaluation.provenance import StepHistory, direct_edges, gather, step_lines
from evaluation.scorecard import Scorecard, make_scorecard
from evaluation.wording import headline, read_words
from validation.schemas import Frozen, Language, NonBlank

STEP_VERSION = 2
REPORT_NAME = "report.html"
SCORECARD_NAME = "scorecard.json"
EVALUATION = "evaluation_"
CHECKPOINT = "checkpoint_"


class ReportSettings(Frozen):
    """What a report is about.

    `models`: names in the order in which they were made, the base first; the input
    `evaluation_<name>` is each one's evaluation, and `checkpoint_<name>`, where given, the
    checkpoint that its curves come from. `embedded`: the small embedded model wrote the data,
    which the page then says. `shown_per_language`: how many talks and pairs are shown.
    `history` tells what a run did; it changes the page, never the numbers.
    """

    models: Annotated[tuple[NonBlank, ...], Field(min_length=1)]
    language: Language = "en"
    embedded: bool = False
    seed: int = 0
    shown_per_language: Annotated[int, Field(ge=0)] = 2
    history: tuple[StepHistory, ...] = Field((), json_schema_extra={"result_neutral": True})

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"models named twice: {list(self.models)}")
        return self


def build_report(settings: ReportSettings, workspace: Workspace) -> Built:
    """Write `report.html` (volatile: it holds times) and `scorecard.json` (numbers alone).

    Inputs: `evaluation_<model>` for each model, `dataset`, and where there are any
    `conversations`, `preferences` and `checkpoint_<model>`. Raises MissingInput,
    MismatchedItems, EmptyBenchmark.
    """
    evaluations = _evaluations(settings, workspace.inputs)
    if "dataset" not in workspace.inputs:
        raise MissingInput("a report needs the input 'dataset'")
    workspace.progress(Progress(0, 2, "parts", note="comparing"))
    card = make_scorecard(
        {name: read_items(folder) for name, folder in evaluations.items()}, settings.seed
    )
    workspace.progress(Progress(1, 2, "parts", note="writing the page"))
    text = _page(settings, workspace.inputs, evaluations, card)
    write_atomically(workspace.out / REPORT_NAME, text)
    write_atomically(workspace.out / SCORECARD_NAME, card.model_dump_json(indent=1) + "\n")
    workspace.progress(Progress(2, 2, "parts"))
    return Built(
        counts={"models": len(card.models), "comparisons": len(card.comparisons)},
        summary={
            "verdict": headline(card, read_words(settings.language)),
            "verdicts": {str(name): str(label) for name, label in card.verdicts.items()},
        },
        volatile=(REPORT_NAME,),
    )


def _page(
    settings: ReportSettings,
    inputs: Mapping[str, Path],
    evaluations: Mapping[str, Path],
    card: Scorecard,
) -> str:
    words = read_words(settings.language)
    checkpoints = {
        name: inputs[CHECKPOINT + name] for name in settings.models if CHECKPOINT + name in inputs
    }
    data = read_data(inputs["dataset"], inputs.get("conversations"), settings.shown_per_language)
    manifests = gather(list(inputs.values()))
    steps = step_lines(manifests, settings.history)
    return page.render(
        "report.html.j2",
        {
            "w": words,
            "card": card,
            "embedded": settings.embedded,
            "html_language": page.HTML_LANGUAGES[settings.language],
            **page.verdict_section(card, words),
            **page.score_section(card, words),
            **page.difference_section(card, words),
            **page.training_section(read_curves(checkpoints), words),
            **background.left_out_section(read_left_out(evaluations), words),
            **background.data_section(data, words),
            **page.reply_section(read_sample_replies(evaluations)),
            **background.step_section(steps, words),
            **background.lineage_section(steps, direct_edges(manifests), words),
            **background.method_section(words),
        },
    )


def _evaluations(settings: ReportSettings, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Each model's evaluation, in order."""
    wanted = {name: EVALUATION + name for name in settings.models}
    if missing := [name for name in wanted.values() if name not in inputs]:
        raise MissingInput(f"a report needs the inputs {missing}; given: {sorted(inputs)}")
    return {name: inputs[given] for name, given in wanted.items()}
