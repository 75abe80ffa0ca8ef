"""Small artifacts of every kind that the evaluation reads, as folders without a store."""

import json
from collections.abc import Sequence
from pathlib import Path

from artifacts.progress import silent
from artifacts.step import Workspace
from evaluation.items import Item, write_items
from evaluation.samples import Line, SampleReply, write_replies
from validation.arrow import has_tools, preference_schema, rows_to_table, sft_schema, training_row
from validation.parquet import write_parquet, write_text
from validation.report import DatasetReport, Example, SplitSize, Tally
from validation.schemas import Conversation, Fault, Message, PreferencePair, Quarantined

OPENINGS = {"en": "My head hurts.", "zh": "我头痛。"}
QUESTIONS = {"en": "Since when?", "zh": "多久了？"}
ANSWERS = {"en": "Since Monday.", "zh": "从星期一开始。"}
ADVICE = {"en": "Please see a doctor today.", "zh": "请今天就诊。"}
BAD = {"en": "It is nothing.", "zh": "没事。"}


def talk(
    case_id: str,
    language: str,
    index: int = 0,
    source: str = "embedded/x",
    faults: Sequence[str] = (),
) -> Conversation:
    said = [OPENINGS, QUESTIONS, ANSWERS, ADVICE]
    return Conversation(
        language=language,
        source=source,
        case_id=case_id,
        sample_index=index,
        faults=tuple(Fault(name=name) for name in faults),
        messages=tuple(
            Message(role=("user", "assistant")[i % 2], content=words[language])
            for i, words in enumerate(said)
        ),
    )


def pair(case_id: str, language: str) -> PreferencePair:
    return PreferencePair(
        language=language,
        source="embedded/x",
        case_id=case_id,
        prompt=(Message(role="user", content=OPENINGS[language]),),
        chosen=(Message(role="assistant", content=ADVICE[language]),),
        rejected=(Message(role="assistant", content=BAD[language]),),
        fault_type="unsafe_reassurance",
        margin=1.0,
    )


def cases(count: int = 3) -> list[tuple[str, str]]:
    return [(f"{language}-{i}", language) for language in ("en", "zh") for i in range(count)]


def dataset(
    folder: Path,
    talks: Sequence[Conversation] | None = None,
    pairs: Sequence[PreferencePair] | None = None,
) -> Path:
    """All rows are in every split: enough for readers, no example of a sound data set."""
    talks = [talk(*case) for case in cases()] if talks is None else talks
    pairs = [pair(*case) for case in cases()] if pairs is None else pairs
    for view, rows, schema in (
        ("sft", talks, sft_schema(any(map(has_tools, talks)))),
        ("preference", pairs, preference_schema()),
    ):
        for split in ("train", "validation", "test"):
            table = rows_to_table([training_row(row) for row in rows], schema)
            write_parquet(table, folder / view / f"{split}.parquet")
    write_text(folder / "report.json", report().model_dump_json())
    return folder


def report() -> DatasetReport:
    size = SplitSize(rows=6, cases=6, languages={"en": SplitSize(rows=3, cases=3)})
    whole = Tally(rows_in=9, accepted=7, quarantined=2, faults={"diagnosis_leaked": 2})
    example = Example(
        kind="conversation",
        language="zh",
        source="embedded/x",
        case_id="zh-9",
        origin="conversations/conversations.jsonl:9",
        detail="the patient says <b>flu</b>",
        text="user: 我得了流感。",
    )
    return DatasetReport(
        total=whole,
        kinds={"conversation": whole},
        languages={"zh": whole},
        sources={"embedded/x": whole},
        duplicates={"conversation": 0},
        splits={
            view: dict.fromkeys(("train", "validation", "test"), size)
            for view in ("sft", "preference")
        },
        missing_in_split={},
        cases={},
        held_out_absent=[],
        expectations={},
        examples={"diagnosis_leaked": [example]},
    )


def conversations(folder: Path, made: Sequence[Conversation] = ()) -> Path:
    scripted = [talk(case, language, source="scripted/1") for case, language in cases()]
    write_text(folder / "scripted.jsonl", "".join(t.model_dump_json() + "\n" for t in scripted))
    rows = "".join(t.model_dump_json() + "\n" for t in made)
    write_text(folder / "conversations.jsonl", rows)
    failed = Quarantined(raw="{}", fault="timeout", detail="no answer", origin="c:1")
    write_text(folder / "failed.jsonl", failed.model_dump_json() + "\n")
    return folder


def checkpoint(folder: Path, metrics: Sequence[dict[str, float]]) -> Path:
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))
    return folder


def item(benchmark: str, metric: str, number: int, value: float, **more: object) -> Item:
    place = {"item_id": f"i{number:03d}", "cluster": f"c{number:03d}", "language": "en"}
    return Item(**{"benchmark": benchmark, "metric": metric, "value": value, **place, **more})


def items(count: int, losses: float, right: int, preferred: int, margin: float = 0.0) -> list[Item]:
    """As many items of each benchmark: `right` questions and `preferred` pairs count 1."""
    made = []
    for i in range(count):
        made.append(item("held_out", "nats_per_token", i, losses + i / 1000))
        for metric in ("accuracy", "accuracy_by_sum"):
            made.append(item("questions", metric, i, float(i < right)))
            made.append(item("preference", metric, i, float(i < preferred)))
        detail = {"margin_of_sums": margin + i / 1000}
        made.append(item("preference", "margin_nats", i, margin, detail=detail))
    return made


def evaluation(
    folder: Path,
    made: Sequence[Item],
    reply: str = "Hm.",
    left_out: Sequence[Quarantined] = (),
) -> Path:
    write_items(folder / "items.parquet", made)
    prompt = (Line(role="user", content=OPENINGS["zh"]),)
    sample = SampleReply(
        record_id="r1",
        case_id="zh-1",
        language="zh",
        prompt=prompt,
        reference="多久了？",
        reply=reply,
    )
    write_replies(folder / "samples.jsonl", [sample])
    write_text(folder / "left_out.jsonl", "".join(f"{row.model_dump_json()}\n" for row in left_out))
    return folder


def workspace(root: Path, inputs: dict[str, Path]) -> Workspace:
    for name in ("out", "state"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return Workspace(root / "out", root / "state", inputs, silent)
