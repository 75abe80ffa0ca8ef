"""What the report shows of the data and of training, read from the input artifacts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.control import Group, control_groups, read_talks
from evaluation.errors import MissingInput
from evaluation.items import LEFT_OUT_NAME
from evaluation.samples import Line, SampleReply, read_replies
from validation.report import DatasetReport, read_report
from validation.schemas import Frozen, Language, Quarantined

SPLITS = ("train", "validation", "test")
RANKING = "rewards/accuracies"
CURVES = ("loss", RANKING, "rewards/margins")
ROUNDING = 1e-4


class TalkPair(Frozen):
    """A generated talk that was kept, beside the scripted one of the same case.

    `scripted` is empty where there is none. `faults`: found in it when it was made, and
    tolerated.
    """

    case_id: str
    language: Language
    source: str
    split: str
    faults: tuple[str, ...]
    kept: tuple[Line, ...]
    scripted: tuple[Line, ...]


class PairShown(Frozen):
    """A preference pair as the report shows it."""

    case_id: str
    language: Language
    fault_type: str
    prompt: tuple[Line, ...]
    chosen: str
    rejected: str


class Replies(Frozen):
    """One prompt, the data's own next words, and each model's reply."""

    prompt: SampleReply
    replies: dict[str, str]


class Curve(Frozen):
    """One metric of one stage by step."""

    stage: str
    metric: str
    points: tuple[tuple[int, float], ...]


class DataShown(Frozen):
    """The data section: the data set's own report, talks and pairs.

    `groups`: generated talks, those kept and the scripted control, where they were given.
    """

    report: DatasetReport
    groups: dict[str, Group]
    talks: tuple[TalkPair, ...]
    pairs: tuple[PairShown, ...]


def read_data(dataset: Path, conversations: Path | None, per_language: int) -> DataShown:
    """What the report tells of the data.

    `conversations`: where the scripted control is, if anywhere. `per_language`: how many talks
    and how many pairs to show. Raises MissingInput.
    """
    tables = {split: _rows(dataset / "sft" / f"{split}.parquet") for split in SPLITS}
    made = read_talks(conversations / "conversations.jsonl") if conversations else []
    control = read_talks(conversations / "scripted.jsonl") if conversations else []
    scripted = {talk.case_id: _lines([m.model_dump() for m in talk.messages]) for talk in control}
    faults = {talk.record_id: tuple(dict.fromkeys(f.name for f in talk.faults)) for talk in made}
    placed = [(split, row) for split, rows in tables.items() for row in rows]
    generated = [(s, row) for s, row in placed if not row["source"].startswith("scripted")]
    with_control = [(s, row) for s, row in generated if row["case_id"] in scripted]
    talks = [
        TalkPair(
            case_id=row["case_id"],
            language=row["language"],
            source=row["source"],
            split=split,
            faults=faults.get(row["record_id"], ()),
            kept=_lines(row["messages"]),
            scripted=scripted.get(row["case_id"], ()),
        )
        for split, row in _first(with_control or generated or placed, per_language)
    ]
    return DataShown(
        report=read_report(dataset),
        groups=control_groups(made, control, {row["record_id"] for _, row in placed}),
        talks=tuple(talks),
        pairs=tuple(_pairs(dataset, per_language)),
    )


def read_sample_replies(evaluations: Mapping[str, Path]) -> list[Replies]:
    """Each model's reply to each prompt that all models answered."""
    spoken = {
        name: {sample.record_id: sample for sample in read_replies(folder)}
        for name, folder in evaluations.items()
    }
    first = next(iter(spoken.values()))
    return [
        Replies(prompt=sample, replies={name: own[record].reply for name, own in spoken.items()})
        for record, sample in first.items()
        if all(record in own for own in spoken.values())
    ]


def read_left_out(evaluations: Mapping[str, Path]) -> list[Quarantined]:
    """The rows that no model was measured on, in the order in which they stand in their tables.

    Raises MissingInput where an evaluation does not say which these are.
    """
    found: dict[str, Quarantined] = {}
    for folder in evaluations.values():
        path = folder / LEFT_OUT_NAME
        if not path.is_file():
            raise MissingInput(f"{folder} is no evaluation: it holds no {LEFT_OUT_NAME}")
        for line in path.read_text(encoding="utf-8").splitlines():
            row = Quarantined.model_validate_json(line)
            found.setdefault(row.origin, row)
    return list(found.values())


def read_curves(checkpoints: Mapping[str, Path]) -> list[Curve]:
    """The training curves of each checkpoint, from its `metrics.jsonl`."""
    curves = []
    for stage, folder in checkpoints.items():
        path = folder / "metrics.jsonl"
        if not path.is_file():
            raise MissingInput(f"{folder} is no checkpoint: it holds no metrics.jsonl")
        steps = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for metric in CURVES:
            shown = [s for s in steps if metric in s and not (metric == RANKING and _unmoved(s))]
            points = tuple((s["step"], float(s[metric])) for s in shown)
            if points:
                curves.append(Curve(stage=stage, metric=metric, points=points))
    return curves


def _unmoved(step: Mapping[str, float]) -> bool:
    """Whether the model is still its own reference, so that the rounding of floats ranks pairs.

    Rewards at DPO's first step were 6e-7 and -2e-6, and ranked every pair right.
    """
    rewards = [abs(step.get(f"rewards/{side}", 1.0)) for side in ("chosen", "rejected")]
    return max(rewards) < ROUNDING


def _pairs(dataset: Path, per_language: int) -> list[PairShown]:
    path = dataset / "preference" / "test.parquet"
    rows = _rows(path) if path.is_file() else []
    return [
        PairShown(
            case_id=row["case_id"],
            language=row["language"],
            fault_type=row["fault_type"],
            prompt=_lines(row["prompt"]),
            chosen=_lines(row["chosen"])[-1].content,
            rejected=_lines(row["rejected"])[-1].content,
        )
        for _, row in _first([("test", row) for row in rows], per_language)
    ]


def _first(
    rows: Sequence[tuple[str, dict[str, Any]]], per_language: int
) -> list[tuple[str, dict[str, Any]]]:
    """The first rows of each language by case, one a case, held-out ones before others."""
    order = {"test": 0, "validation": 1, "train": 2}
    ranked = sorted(rows, key=lambda r: (r[1]["language"], order[r[0]], r[1]["case_id"]))
    chosen: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for split, row in ranked:
        place = (row["language"], row["case_id"])
        if place not in chosen and sum(p[0] == place[0] for p in chosen) < per_language:
            chosen[place] = (split, row)
    return list(chosen.values())


def _rows(path: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    if not path.is_file():
        raise MissingInput(f"{path} is not there: give a data set built by validation")
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def _lines(messages: Sequence[Any]) -> tuple[Line, ...]:
    """Messages as lines; those of a table with tools stand there as JSON text."""
    return tuple(Line(role=m["role"], content=m["content"]) for m in map(_message, messages))


def _message(message: Any) -> Any:
    return json.loads(message) if isinstance(message, str) else message
