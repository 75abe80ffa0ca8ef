"""What a stage leaves behind: samples, metrics, the report of the stage, the rows left out."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.step import Built
from engines.generation import Sampling, reply
from training.checkpoint import StageReport
from training.data import Example
from validation.schemas import Quarantined

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VOLATILE = ("timing.jsonl",)


@dataclass(frozen=True)
class Look:
    """A model seen at one moment: its validation figures, and its replies to the samples."""

    validation: dict[str, float]
    replies: list[str]


def clear_folder(folder: Path) -> None:
    """Remove what a killed attempt left in a folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def sample_replies(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    examples: Sequence[Example],
    max_new_tokens: int,
) -> list[str]:
    """Greedy replies to the examples' prompts."""
    prompts = [example.prompt for example in examples]
    return reply(model, tokenizer, prompts, Sampling(max_new_tokens=max_new_tokens))


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """A JSONL file, one object a line."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def write_samples(path: Path, examples: Sequence[Example], before: Look, after: Look) -> None:
    """`samples.jsonl`: each prompt with the replies before and after training."""
    rows = zip(examples, before.replies, after.replies, strict=True)
    write_lines(
        path,
        [
            {"record_id": e.record_id, "prompt": list(e.prompt), "before": old, "after": new}
            for e, old, new in rows
        ],
    )


def write_stage(
    out: Path, report: StageReport, left_out: Sequence[Quarantined], metrics: Path, timing: Path
) -> None:
    """The files of a checkpoint artifact beside its adapter and samples."""
    write_lines(out / "quarantine.jsonl", [row.model_dump(mode="json") for row in left_out])
    (out / "stage.json").write_text(report.model_dump_json(indent=1), encoding="utf-8")
    shutil.copyfile(metrics, out / "metrics.jsonl")
    shutil.copyfile(timing, out / "timing.jsonl")


def built(report: StageReport, samples: Path) -> Built:
    """The step's account: rows in = accepted + quarantined, and what people want to see."""
    shown = report.model_dump(mode="json", exclude={"settings"})
    lines = samples.read_text(encoding="utf-8").splitlines()
    return Built(
        counts={
            "rows_in": report.rows_accepted + report.rows_left_out,
            "accepted": report.rows_accepted,
            "quarantined": report.rows_left_out,
        },
        summary={**shown, "samples": [json.loads(line) for line in lines]},
        volatile=VOLATILE,
    )
