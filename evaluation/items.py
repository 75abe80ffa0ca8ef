"""What is measured, item by item: the table from which every figure can be worked out again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from evaluation.errors import EmptyBenchmark, MismatchedItems, MissingInput
from validation.schemas import Frozen, Language

ITEMS_NAME = "items.parquet"
LEFT_OUT_NAME = "left_out.jsonl"
Benchmark = Literal["held_out", "questions", "preference"]
BENCHMARKS: tuple[Benchmark, ...] = ("held_out", "questions", "preference")


class Metric(Frozen):
    """A figure that items have.

    `binary`: values are 0 or 1, the mean is a share. `primary`: it decides the verdict; the
    others are shown beside it. `chance`: what guessing would give, where that is known.
    """

    benchmark: Benchmark
    name: str
    binary: bool
    primary: bool
    higher_is_better: bool
    chance: float | None = None


METRICS: tuple[Metric, ...] = (
    Metric(
        benchmark="held_out",
        name="nats_per_token",
        binary=False,
        primary=True,
        higher_is_better=False,
    ),
    Metric(
        benchmark="questions",
        name="accuracy",
        binary=True,
        primary=True,
        higher_is_better=True,
        chance=0.25,
    ),
    Metric(
        benchmark="questions",
        name="accuracy_by_sum",
        binary=True,
        primary=False,
        higher_is_better=True,
        chance=0.25,
    ),
    Metric(
        benchmark="preference",
        name="accuracy",
        binary=True,
        primary=True,
        higher_is_better=True,
        chance=0.5,
    ),
    Metric(
        benchmark="preference",
        name="accuracy_by_sum",
        binary=True,
        primary=False,
        higher_is_better=True,
        chance=0.5,
    ),
    Metric(
        benchmark="preference",
        name="margin_nats",
        binary=False,
        primary=False,
        higher_is_better=True,
    ),
)

BINARY = {(metric.benchmark, metric.name) for metric in METRICS if metric.binary}


class Item(Frozen):
    """One metric of one item.

    `cluster` names what items share (a case, a topic): those of one cluster are not
    independent. `detail` holds the numbers that `value` was made of.
    """

    benchmark: Benchmark
    item_id: str
    cluster: str
    language: Language
    metric: str
    value: float
    detail: dict[str, JsonValue] = Field(default_factory=dict)


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write items as Parquet, ordered by benchmark, item and metric; `detail` as JSON text."""
    import pyarrow as pa

    from validation.parquet import write_parquet

    names = tuple(Item.model_fields)
    schema = pa.schema([(n, pa.float64() if n == "value" else pa.string()) for n in names])
    ordered = sorted(items, key=lambda i: (i.benchmark, i.item_id, i.metric))
    rows = [
        item.model_dump(mode="json")
        | {"detail": json.dumps(item.detail, ensure_ascii=False, sort_keys=True)}
        for item in ordered
    ]
    write_parquet(pa.Table.from_pylist(rows, schema=schema), path)


def read_items(folder: Path) -> tuple[Item, ...]:
    """The items of an evaluation artifact.

    Raises MissingInput where the folder holds none.
    """
    from pyarrow import parquet

    path = folder / ITEMS_NAME
    if not path.is_file():
        raise MissingInput(f"{folder} is no evaluation: it holds no {ITEMS_NAME}")
    rows = parquet.read_table(path).to_pylist()
    return tuple(Item(**{**row, "detail": json.loads(row["detail"])}) for row in rows)


def of_metric(items: Iterable[Item], metric: Metric) -> list[Item]:
    """The items of one metric, in order of item_id."""
    wanted = [i for i in items if i.benchmark == metric.benchmark and i.metric == metric.name]
    return sorted(wanted, key=lambda item: item.item_id)


def has_metric(items: Sequence[Item], metric: Metric) -> bool:
    """Whether any item carries the metric."""
    return any(i.benchmark == metric.benchmark and i.metric == metric.name for i in items)


def paired(
    metric: Metric, model: str, against: str, evaluations: Mapping[str, Sequence[Item]]
) -> list[tuple[Item, Item]]:
    """(model's, against's) items of a metric side by side.

    Raises MismatchedItems where they are not the same items or one is there twice (a copy
    would feign certainty), EmptyBenchmark where none are.
    """
    new, old = (of_metric(evaluations[name], metric) for name in (model, against))
    ids = [{(row.item_id, row.cluster) for row in rows} for rows in (new, old)]
    for name, rows, own in ((model, new, ids[0]), (against, old, ids[1])):
        if len({item for item, _ in own}) < len(rows):
            raise MismatchedItems(
                f"{metric.benchmark}: {name} was measured twice on an item "
                f"({len(rows)} rows of {len(own)} items): evaluate it again"
            )
    if ids[0] != ids[1] or len(new) != len(old):
        strange = sorted(item for item, _ in ids[0] ^ ids[1])
        raise MismatchedItems(
            f"{metric.benchmark}: {model} and {against} were not measured on the same items "
            f"({len(new)} and {len(old)}; only one has {strange[:3]}): evaluate both on the same "
            "data set with the same settings"
        )
    if not new:
        raise EmptyBenchmark(f"{metric.benchmark}/{metric.name}: no item to compare on")
    return list(zip(new, old, strict=True))
