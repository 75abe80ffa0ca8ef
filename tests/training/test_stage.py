import pytest

from engines.chat import encode_talk
from engines.loading import load_model, load_tokenizer
from engines.loglikelihood import Choices, mean_loss, score_choices, talk_scores
from tests.training.conftest import (
    FAST,
    conversation,
    doctor,
    files_of,
    lines,
    pair,
    run_stage,
    user,
    write_dataset,
)
from training.checkpoint import read_chain, read_report
from training.data import read_rows
from training.dpo import DPO, dpo_loss
from training.errors import Diverged, EmptyData, WrongData, WrongInput
from training.settings import LoraSettings
from training.sft import SFT
from training.stage import STAGE, StageInputs
from validation.arrow import rows_to_table, sft_schema, training_row
from validation.schemas import Conversation, Message, ToolCall

# peft 0.21 asks transformers 5.23 by a name that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

SFT_SETTINGS = SFT(epochs=2, save_every_steps=2, lora=LoraSettings(r=4, dropout=0.2), **FAST)
DPO_SETTINGS = DPO(epochs=2, learning_rate=5e-3, save_every_steps=2, **FAST)


@pytest.fixture(scope="module")
def sft(tmp_path_factory, student, dataset):
    return run_stage(SFT_SETTINGS, tmp_path_factory.mktemp("sft"), student, dataset)


@pytest.fixture(scope="module")
def dpo(tmp_path_factory, student, dataset, sft):
    folder = tmp_path_factory.mktemp("dpo")
    return run_stage(DPO_SETTINGS, folder, student, dataset, chain=[sft[1]])


class Killed(BaseException):
    """Stands for the end of the process: nothing in the way catches it."""


def killed_at(step):
    def progress(report):
        if report.unit == "steps" and report.done == step:
            raise Killed

    return progress


def test_sft_lowers_the_held_out_loss_and_accounts_for_every_row(sft):
    built, out = sft
    report = read_report(out)
    assert built.counts == {"rows_in": 11, "accepted": 11, "quarantined": 0}
    assert report.validation_after["loss"] < report.validation_before["loss"]
    assert report.steps == 6  # 11 rows twice, 4 a step
    assert [line["step"] for line in lines(out / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert report.rows_used == 11
    assert [link.stage for link in report.chain] == ["sft"]
    assert len(lines(out / "samples.jsonl")) == 2
    assert built.summary["samples"] == lines(out / "samples.jsonl")


def test_tokens_seen_are_those_of_the_rows(sft, student, dataset):
    tokenizer = load_tokenizer(student / "model")
    rows = read_rows(dataset, "sft", "train", ["messages"])
    once = sum(len(encode_talk(tokenizer, row["messages"]).ids) for row in rows)
    assert read_report(sft[1]).tokens == 2 * once


def test_the_held_out_loss_is_that_of_the_base_with_the_adapter_merged(sft, student, dataset):
    tokenizer = load_tokenizer(student / "model")
    rows = read_rows(dataset, "sft", "validation", ["messages"])
    talks = [encode_talk(tokenizer, row["messages"]) for row in rows]
    report = read_report(sft[1])
    for adapters, figures in (
        ([], report.validation_before),
        ([sft[1] / "adapter"], report.validation_after),
    ):
        model = load_model(student / "model", adapters)
        loss = mean_loss(talk_scores(model, talks))
        assert loss == pytest.approx(figures["loss"], rel=1e-4)


def test_the_first_loss_is_the_cross_entropy_of_the_assistants_tokens(student, dataset, tmp_path):
    settings = SFT(max_steps=1, lora=LoraSettings(r=4), **{**FAST, "batch_size": 11})
    _, out = run_stage(settings, tmp_path, student, dataset)
    tokenizer = load_tokenizer(student / "model")
    rows = read_rows(dataset, "sft", "train", ["messages"])
    talks = [encode_talk(tokenizer, row["messages"]) for row in rows]
    expected = mean_loss(talk_scores(load_model(student / "model"), talks))
    assert read_report(out).first_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_killed_run_goes_on_to_the_same_bits(sft, student, dataset, tmp_path, step):
    with pytest.raises(Killed):
        run_stage(SFT_SETTINGS, tmp_path, student, dataset, progress=killed_at(step))
    (tmp_path / "out" / "half").mkdir()
    seen = []
    _, out = run_stage(SFT_SETTINGS, tmp_path, student, dataset, progress=seen.append)
    assert files_of(out) == files_of(sft[1])
    steps = [report.done for report in seen if report.unit == "steps" and report.done]
    saved = (step - 1) // 2 * 2  # a step is reported before its checkpoint is written
    assert steps == list(range(saved + 1, 7))


def test_dpo_stands_on_the_chain_before_it_and_learns_its_pairs(dpo, sft):
    built, out = dpo
    report = read_report(out)
    assert [link.stage for link in report.chain] == ["sft", "dpo"]
    assert read_chain([sft[1], out]) == report.chain
    assert report.validation_before["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert not {"margin", "accuracy"} & set(report.validation_before)
    assert report.validation_after["loss"] < 0.69
    assert report.validation_after["accuracy"] == 1.0
    assert built.counts == {"rows_in": 7, "accepted": 7, "quarantined": 0}


def test_the_first_dpo_loss_is_ln_2_as_policy_and_reference_are_one(dpo):
    assert read_report(dpo[1]).first_loss == pytest.approx(0.693147, abs=1e-5)


def test_the_dpo_loss_of_held_out_pairs_is_the_formulas(dpo, sft, student, dataset):
    """Rafailov et al. 2023, eq. 7, from two models loaded from their folders."""
    import math

    from engines.chat import encode_answer

    tokenizer = load_tokenizer(student / "model")
    rows = read_rows(dataset, "preference", "validation", ["prompt", "chosen", "rejected"])
    adapters = [folder / "adapter" for folder in (sft[1], dpo[1])]
    reference = load_model(student / "model", adapters[:1])
    policy = load_model(student / "model", adapters)
    losses = []
    for row in rows:
        prompt, chosen = encode_answer(tokenizer, row["prompt"], row["chosen"][0])
        _, rejected = encode_answer(tokenizer, row["prompt"], row["rejected"][0])
        item = [Choices(prompt, (chosen, rejected))]
        (new,), (old,) = score_choices(policy, item), score_choices(reference, item)
        margin = (new[0].logprob - old[0].logprob) - (new[1].logprob - old[1].logprob)
        losses.append(-math.log(1 / (1 + math.exp(-0.1 * margin))))
    expected = sum(losses) / len(losses)
    assert read_report(dpo[1]).validation_after["loss"] == pytest.approx(expected, rel=1e-3)


def test_trls_dpo_loss_is_the_formulas(student, dataset, tmp_path):
    """After one step of one batch, TRL's second loss against ours of the same weights."""
    settings = DPO(
        max_steps=2,
        epochs=2,
        learning_rate=5e-3,
        schedule="constant",
        warmup_share=0.0,
        **{**FAST, "batch_size": 7},
    )
    _, out = run_stage(settings, tmp_path, student, dataset)
    once = settings.model_copy(update={"max_steps": 1})
    _, first = run_stage(once, tmp_path / "once", student, dataset)
    from engines.chat import encode_answer

    tokenizer = load_tokenizer(student / "model")
    reference = load_model(student / "model")
    policy = load_model(student / "model", [first / "adapter"])
    losses = []
    for row in read_rows(dataset, "preference", "train", ["prompt", "chosen", "rejected"]):
        prompt, chosen = encode_answer(tokenizer, row["prompt"], row["chosen"][0])
        _, rejected = encode_answer(tokenizer, row["prompt"], row["rejected"][0])
        item = [Choices(prompt, (chosen, rejected))]
        (new,), (old,) = score_choices(policy, item), score_choices(reference, item)
        ratios = [n.logprob - o.logprob for n, o in zip(new, old, strict=True)]
        losses.append(dpo_loss(*ratios, beta=0.1))
    assert read_report(out).last_loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert read_report(out).last_loss < 0.69


def test_a_killed_dpo_run_goes_on_to_the_same_bits(dpo, sft, student, dataset, tmp_path):
    with pytest.raises(Killed):
        run_stage(DPO_SETTINGS, tmp_path, student, dataset, chain=[sft[1]], progress=killed_at(3))
    _, out = run_stage(DPO_SETTINGS, tmp_path, student, dataset, chain=[sft[1]])
    assert files_of(out) == files_of(dpo[1])


def test_a_reference_that_is_known_is_not_worked_out_again(dpo, sft, student, dataset, tmp_path):
    def killed(report):
        if report.unit == "reference pairs" and report.done == 3:
            raise Killed

    with pytest.raises(Killed):
        run_stage(DPO_SETTINGS, tmp_path, student, dataset, chain=[sft[1]], progress=killed)
    (prepared,) = (tmp_path / "state").glob("*/prepared.jsonl")
    prepared.write_text(prepared.read_text() + "[-1.0, -")  # killed while it wrote the fourth
    seen = []
    _, out = run_stage(
        DPO_SETTINGS, tmp_path, student, dataset, chain=[sft[1]], progress=seen.append
    )
    known = [report.done for report in seen if report.unit == "reference pairs"]
    assert known == [4, 5, 6, 7, 8, 9]
    assert files_of(out) == files_of(dpo[1])


def test_nothing_of_this_machine_stands_in_a_checkpoint(dpo, student):
    for name, content in files_of(dpo[1]).items():
        assert str(student).encode() not in content, name


def test_rows_too_long_are_left_out_and_reported_never_cut(student, tmp_path):
    talks = [conversation(n) for n in range(6)]
    talks[1]["messages"] = [user("x" * 300), doctor("Yes.")]
    talks[2]["messages"] = [user("Only the patient speaks.")]
    dataset = write_dataset(tmp_path / "data", talks)
    settings = SFT(max_steps=1, max_length_tokens=250, **FAST)
    built, out = run_stage(settings, tmp_path / "run", student, dataset)
    assert built.counts == {"rows_in": 4, "accepted": 2, "quarantined": 2}
    left = lines(out / "quarantine.jsonl")
    assert [row["fault"] for row in left] == ["too_long", "cannot_be_rendered"]
    assert left[0]["origin"] == "sft/train.parquet:1"
    assert "max_length_tokens is 250" in left[0]["detail"]


def talk_with_tools(number: int, tools=(), tool_calls=()) -> Conversation:
    messages = [
        Message(role="user", content=f"It hurts {number}."),
        Message(role="assistant", content="Rest.", tool_calls=tool_calls),
    ]
    case = f"c{number}"
    return Conversation(
        language="en", source="t/1", case_id=case, messages=tuple(messages), tools=tools
    )


def test_rows_with_tools_are_left_out_and_reported_not_trained_without_them(student, tmp_path):
    import pyarrow.parquet as pq

    talks = [talk_with_tools(n) for n in range(3)]
    talks.append(talk_with_tools(3, tools=({"name": "lookup"},)))
    talks.append(talk_with_tools(4, tool_calls=(ToolCall(name="lookup"),)))
    rows = [training_row(talk) for talk in talks]
    dataset = write_dataset(tmp_path / "data")
    path = dataset / "sft" / "train.parquet"
    pq.write_table(rows_to_table(rows, sft_schema(with_tools=True)), path)
    built, out = run_stage(SFT(max_steps=1, **FAST), tmp_path / "run", student, dataset)
    assert built.counts == {"rows_in": 5, "accepted": 3, "quarantined": 2}
    details = [row["detail"] for row in lines(out / "quarantine.jsonl")]
    assert "defines tools" in details[0]
    assert "calls tools" in details[1]


def test_no_rows_are_an_error_before_anything_is_loaded(tmp_path):
    dataset = write_dataset(tmp_path / "data", [])
    with pytest.raises(EmptyData, match="nothing to train on"):
        run_stage(SFT(**FAST), tmp_path / "run", tmp_path / "no-model", dataset)


def test_rows_that_are_all_too_long_are_an_error(student, dataset, tmp_path):
    settings = SFT(max_length_tokens=10, **FAST)
    with pytest.raises(EmptyData, match="none of the 11 training rows"):
        run_stage(settings, tmp_path, student, dataset)


def test_a_data_set_without_the_stages_rows_is_an_error(student, tmp_path):
    with pytest.raises(WrongData, match="preference/train.parquet"):
        run_stage(DPO(**FAST), tmp_path, student, tmp_path)


def test_a_data_set_without_the_stages_columns_is_an_error(student, dataset, tmp_path):
    import shutil

    (tmp_path / "data" / "preference").mkdir(parents=True)
    shutil.copyfile(
        dataset / "sft" / "train.parquet", tmp_path / "data" / "preference" / "train.parquet"
    )
    with pytest.raises(WrongData, match="lacks the columns"):
        run_stage(DPO(**FAST), tmp_path, student, tmp_path / "data")


def test_a_run_of_one_step_learns_whatever_its_warm_up(student, dataset, tmp_path):
    settings = SFT(max_steps=1, warmup_share=0.9, **FAST)
    _, out = run_stage(settings, tmp_path, student, dataset)
    (line,) = lines(out / "metrics.jsonl")
    assert line["learning_rate"] == settings.learning_rate


def test_a_learning_rate_that_breaks_the_model_stops_the_run(student, dataset, tmp_path):
    settings = SFT(learning_rate=1e30, warmup_share=0.0, epochs=2, **FAST)
    with pytest.raises(Diverged, match="Lower learning_rate"):
        run_stage(settings, tmp_path, student, dataset)


def test_a_setting_that_cannot_change_the_result_changes_no_file(sft, student, dataset, tmp_path):
    often = SFT_SETTINGS.model_copy(update={"save_every_steps": 1})
    _, out = run_stage(often, tmp_path, student, dataset)
    assert files_of(out) == files_of(sft[1])


def test_checkpoints_of_a_broken_chain_are_refused(dpo, sft):
    with pytest.raises(WrongInput, match="in the order in which they were trained"):
        read_chain([dpo[1], sft[1]])
    with pytest.raises(WrongInput, match="no checkpoint"):
        read_chain([sft[1] / "adapter"])


def test_stages_are_told_apart_by_name_and_misspelt_settings_refused():
    from pydantic import ValidationError

    assert isinstance(STAGE.validate_python({"stage": "dpo", "beta": 0.2}), DPO)
    with pytest.raises(ValidationError, match="betta"):
        STAGE.validate_python({"stage": "dpo", "betta": 0.2})
    with pytest.raises(ValidationError, match="target_modules is empty"):
        LoraSettings.model_validate({"target_modules": ()}) and SFT(
            lora=LoraSettings(target_modules=())
        )


def test_inputs_are_taken_by_name_in_the_order_of_their_numbers(tmp_path):
    names = ["model", "dataset", *[f"checkpoint_{n}" for n in range(11)]]
    inputs = StageInputs.of({name: tmp_path / name for name in names})
    assert [path.name for path in inputs.checkpoints] == names[2:]
    with pytest.raises(WrongInput, match="dataset"):
        StageInputs.of({"model": tmp_path})


def test_a_pair_with_two_messages_in_an_answer_is_left_out(student, tmp_path):
    pairs = [pair(n) for n in range(5)]
    pairs[0]["chosen"] *= 2
    dataset = write_dataset(tmp_path / "data", (), pairs)
    built, _ = run_stage(DPO(max_steps=1, **FAST), tmp_path / "run", student, dataset)
    assert built.counts == {"rows_in": 3, "accepted": 2, "quarantined": 1}
