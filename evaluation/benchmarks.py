"""The benchmarks: each turns a model and its material into measured items.

Material is read and tokenised before any weight is loaded, so that what is wrong with it is
said within a second.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.chat import ChatMessage, Tokens, encode_answer, encode_talk, encode_text
from engines.errors import ChatError
from engines.loglikelihood import Choices, Score, score_choices, talk_scores
from evaluation.errors import EmptyBenchmark, MissingInput
from evaluation.items import Benchmark, Item
from evaluation.questions import Question, read_wordings
from evaluation.scorers import nats_per_token, score_choice, score_pair
from validation.schemas import Quarantined

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = Mapping[str, Any]
Tick = Callable[[], None]


@dataclass(frozen=True)
class Prepared:
    """The material of one benchmark: what is run, and what each run is about.

    talks: of the held-out benchmark. choices: of the two others. Exactly one has entries,
    in the order of `subjects` (rows of the data set, or questions).
    """

    subjects: tuple[Any, ...]
    talks: tuple[Tokens, ...] = ()
    choices: tuple[Choices, ...] = ()
    left_out: tuple[Quarantined, ...] = ()


def read_split(dataset: Path, view: str) -> list[Row]:
    """The rows of `<view>/test.parquet`.

    Raises MissingInput where the file is missing, EmptyBenchmark where it has no row.
    """
    from pyarrow import parquet

    path = dataset / view / "test.parquet"
    if not path.is_file():
        raise MissingInput(
            f"{dataset} holds no {view}/test.parquet: give a data set built by validation"
        )
    rows: list[Row] = parquet.read_table(path).to_pylist()
    if not rows:
        raise EmptyBenchmark(
            f"{path} has no row, so there is nothing to measure on: raise splits.test_share or "
            "add cases, or leave this benchmark out of evaluate.benchmarks"
        )
    return rows


def prepare_held_out(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Row], limit: int
) -> Prepared:
    """Held-out conversations as tokens; `limit` tokens at most, the others are left out.

    Left out are those with tools, too, as in training.
    """
    talks: dict[int, Tokens] = {}
    left_out = []
    for number, row in enumerate(rows):
        try:
            _refuse_tools(row)
            tokens = encode_talk(tokenizer, row["messages"])
            _check_length(len(tokens.ids), limit)
            if not any(tokens.spoken):
                raise ChatError("the assistant says nothing")
        except ChatError as error:
            left_out.append(_left_out(row, error, f"sft/test.parquet:{number}"))
            continue
        talks[number] = tokens
    _refuse_none("held_out", talks, left_out)
    return Prepared(
        subjects=tuple(rows[number] for number in talks),
        talks=tuple(talks.values()),
        left_out=tuple(left_out),
    )


def prepare_questions(
    tokenizer: "PreTrainedTokenizerBase", questions: Sequence[Question]
) -> Prepared:
    """Choice questions as a prompt and four completions each."""
    wordings = read_wordings()
    start = _start(tokenizer)
    choices = []
    for question in questions:
        prompt, texts = wordings[question.language].put(question)
        completions = tuple(encode_text(tokenizer, text) for text in texts)
        choices.append(Choices((*start, *encode_text(tokenizer, prompt)), completions))
    _refuse_none("questions", choices, [])
    return Prepared(subjects=tuple(questions), choices=tuple(choices))


def prepare_preference(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Row], limit: int
) -> Prepared:
    """Held-out preference pairs as a prompt and its two completions."""
    choices: dict[int, Choices] = {}
    left_out = []
    for number, row in enumerate(rows):
        try:
            _refuse_tools(row)
            pair = _encode_pair(tokenizer, row)
            _check_length(len(pair.prompt) + max(map(len, pair.completions)), limit)
        except ChatError as error:
            left_out.append(_left_out(row, error, f"preference/test.parquet:{number}"))
            continue
        choices[number] = pair
    _refuse_none("preference", choices, left_out)
    return Prepared(
        subjects=tuple(rows[number] for number in choices),
        choices=tuple(choices.values()),
        left_out=tuple(left_out),
    )


def measure_held_out(model: "PreTrainedModel", material: Prepared, tick: Tick) -> list[Item]:
    """Cross-entropy per token of what the doctor says, one item a conversation."""
    items = []
    for row, tokens in zip(material.subjects, material.talks, strict=True):
        score = talk_scores(model, [tokens])[0]
        detail = {"logprob": score.logprob, "tokens": score.tokens}
        place = (row["record_id"], row["case_id"], row["language"])
        items.append(_item("held_out", place, "nats_per_token", nats_per_token(score), detail))
        tick()
    return items


def measure_questions(model: "PreTrainedModel", material: Prepared, tick: Tick) -> list[Item]:
    """Whether the right choice is the most likely, two items a question: per byte and by sum."""
    items = []
    for question, scores in _ticked(material, score_choices(model, material.choices), tick):
        result = score_choice(scores, question.choices, question.answer)
        detail = {
            "logprobs": list(result.logprobs),
            "bytes": [len(choice.encode()) for choice in question.choices],
            "answer": question.answer,
        }
        place = (question.question_id, question.topic, question.language)
        items.append(_item("questions", place, "accuracy", float(result.right), detail))
        items.append(_item("questions", place, "accuracy_by_sum", float(result.right_by_sum), {}))
    return items


def measure_preference(model: "PreTrainedModel", material: Prepared, tick: Tick) -> list[Item]:
    """Whether the chosen completion is the more likely, three items a pair."""
    items = []
    for row, (chosen, rejected) in _ticked(material, score_choices(model, material.choices), tick):
        result = score_pair(chosen, rejected)
        detail = {
            "chosen_logprob": chosen.logprob,
            "chosen_tokens": chosen.tokens,
            "rejected_logprob": rejected.logprob,
            "rejected_tokens": rejected.tokens,
            "fault_type": row["fault_type"],
        }
        of_sums = {"margin_of_sums": result.margin_of_sums}
        place = (row["record_id"], row["case_id"], row["language"])
        items.append(_item("preference", place, "accuracy", float(result.preferred), detail))
        by_sum = float(result.preferred_by_sum)
        items.append(_item("preference", place, "accuracy_by_sum", by_sum, {}))
        items.append(_item("preference", place, "margin_nats", result.margin, of_sums))
    return items


MEASURES: Mapping[Benchmark, Callable[["PreTrainedModel", Prepared, Tick], list[Item]]] = {
    "held_out": measure_held_out,
    "questions": measure_questions,
    "preference": measure_preference,
}


def _ticked(
    material: Prepared, scores: Iterable[tuple[Score, ...]], tick: Tick
) -> Iterable[tuple[Any, tuple[Score, ...]]]:
    for subject, score in zip(material.subjects, scores, strict=True):
        yield subject, score
        tick()


def _item(
    benchmark: Benchmark,
    place: tuple[str, str, Any],
    metric: str,
    value: float,
    detail: dict[str, Any],
) -> Item:
    item_id, cluster, language = place
    return Item(
        benchmark=benchmark,
        item_id=item_id,
        cluster=cluster,
        language=language,
        metric=metric,
        value=value,
        detail=detail,
    )


def _encode_pair(tokenizer: "PreTrainedTokenizerBase", row: Row) -> Choices:
    sides: list[list[ChatMessage]] = [row["chosen"], row["rejected"]]
    if any(len(side) != 1 for side in sides):
        raise ChatError("chosen and rejected must be one message of the assistant each")
    encoded = [encode_answer(tokenizer, row["prompt"], side[0]) for side in sides]
    return Choices(encoded[0][0], tuple(completion for _, completion in encoded))


def _start(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """The token that this tokenizer puts before every text, if it does so at all."""
    ids = tuple(tokenizer("")["input_ids"])
    return ids[:1] if ids and ids[0] == tokenizer.bos_token_id else ()


def _check_length(tokens: int, limit: int) -> None:
    if tokens > limit:
        raise ChatError(f"{tokens} tokens, max_length_tokens is {limit}")


def _refuse_tools(row: Row) -> None:
    if row.get("tools"):
        raise ChatError("the record defines tools, which cannot be rendered yet")


def _left_out(row: Row, error: ChatError, origin: str) -> Quarantined:
    raw = json.dumps(row, ensure_ascii=False, sort_keys=True, default=str)
    return Quarantined(raw=raw, fault="cannot_be_measured", detail=str(error), origin=origin)


def _refuse_none(name: str, kept: Sequence[Any] | Mapping[int, Any], left: list[Any]) -> None:
    if kept:
        return
    why = f"; the first ({left[0].origin}): {left[0].detail}" if left else ""
    raise EmptyBenchmark(f"{name}: none of {len(left)} rows can be measured{why}")
