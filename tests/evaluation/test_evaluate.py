import json
import math
import shutil

import pytest

from artifacts.digest import digest_file
from artifacts.step import Workspace, keyed_settings
from engines.chat import encode_talk
from engines.loading import load_model, load_tokenizer
from evaluation.errors import EmptyBenchmark, MissingInput, QuestionError
from evaluation.evaluate import EvaluateSettings, build_evaluation
from evaluation.items import METRICS, of_metric, read_items
from evaluation.model import subject_of
from evaluation.questions import read_questions
from evaluation.samples import read_replies
from tests.evaluation import factory

QUICK = EvaluateSettings(languages=("zh",), samples=1, sample_tokens=4)
NO_QUESTIONS = EvaluateSettings(benchmarks=("held_out", "preference"), samples=0)


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    """One whole evaluation: its folder, and what it says of itself."""
    root = tmp_path_factory.mktemp("done")
    inputs = {"model": model, "dataset": factory.dataset(root / "dataset")}
    work = factory.workspace(root, inputs)
    return work, build_evaluation(QUICK, work)


def values(folder, benchmark, name):
    metric = next(m for m in METRICS if (m.benchmark, m.name) == (benchmark, name))
    return of_metric(read_items(folder), metric)


def test_every_row_and_question_is_measured_or_left_out(done):
    work, built = done
    asked = len(read_questions(("zh",)))
    assert built.counts == {"rows_in": asked + 12, "accepted": asked + 12, "quarantined": 0}
    assert len(values(work.out, "questions", "accuracy")) == asked
    assert len(values(work.out, "held_out", "nats_per_token")) == 6
    assert len(values(work.out, "preference", "margin_nats")) == 6


def test_the_held_out_loss_is_torchs_own_cross_entropy(done, model):
    import torch

    network, tokenizer = load_model(model / "model"), load_tokenizer(model / "model")
    messages = [
        m.model_dump(include={"role", "content"}) for m in factory.talk("en-0", "en").messages
    ]
    tokens = encode_talk(tokenizer, messages)
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([tokens.ids])).logits[0, :-1]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(tokens.labels[1:]))
    items = {i.cluster: i for i in values(done[0].out, "held_out", "nats_per_token")}
    assert items["en-0"].value == pytest.approx(float(wanted), rel=1e-5)


def test_values_follow_from_the_details_beside_them(done):
    work, _ = done
    for item in values(work.out, "questions", "accuracy"):
        per_byte = [
            logprob / size
            for logprob, size in zip(item.detail["logprobs"], item.detail["bytes"], strict=True)
        ]
        best = max(range(4), key=lambda i: per_byte[i])
        assert item.value == float(best == item.detail["answer"])
    for item in values(work.out, "preference", "accuracy"):
        chosen = item.detail["chosen_logprob"] / item.detail["chosen_tokens"]
        rejected = item.detail["rejected_logprob"] / item.detail["rejected_tokens"]
        assert item.value == float(chosen > rejected)


def test_the_summary_holds_the_means_of_the_items(done):
    work, built = done
    summary = json.loads((work.out / "summary.json").read_text(encoding="utf-8"))
    line = next(
        s for s in summary["scores"] if s["metric"] == "nats_per_token" and s["language"] == "zh"
    )
    own = [i.value for i in values(work.out, "held_out", "nats_per_token") if i.language == "zh"]
    assert line["mean"] == math.fsum(own) / len(own)
    assert summary["model"] == built.summary["model"] == "base"


def test_replies_answer_the_same_openings_in_both_languages(done):
    replies = read_replies(done[0].out)
    assert [r.case_id for r in replies] == ["en-0", "zh-0"]
    assert replies[0].prompt[-1].content == factory.OPENINGS["en"]
    assert replies[0].reference == factory.QUESTIONS["en"]


def test_the_same_again_gives_the_same_bytes(done, tmp_path):
    work, _ = done
    again = factory.workspace(tmp_path, dict(work.inputs))
    build_evaluation(QUICK, again)
    names = sorted(path.name for path in work.out.iterdir())
    assert names == ["items.parquet", "left_out.jsonl", "samples.jsonl", "summary.json"]
    assert all(digest_file(work.out / n) == digest_file(again.out / n) for n in names)


def test_a_killed_evaluation_goes_on_after_the_benchmarks_it_had_done(inputs, tmp_path):
    work = factory.workspace(tmp_path, inputs)
    (work.out / "items.parquet").write_text("left by a killed attempt")

    def die(progress):
        if progress.note == "preference":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_evaluation(NO_QUESTIONS, Workspace(work.out, work.state, inputs, die))
    notes = []
    build_evaluation(NO_QUESTIONS, Workspace(work.out, work.state, inputs, notes.append))
    assert [p.done for p in notes if p.note == "held_out"] == [6]
    assert [p.done for p in notes if p.note == "preference"][-1] == 12
    assert len(read_items(work.out)) == 6 + 3 * 6


def test_an_adapter_changes_the_figures_and_names_the_model(done, inputs, tmp_path):
    inputs["checkpoint_0"] = trained(inputs["model"], tmp_path / "checkpoint")
    work = factory.workspace(tmp_path, inputs)
    built = build_evaluation(NO_QUESTIONS, work)
    before, after = (values(w.out, "held_out", "nats_per_token") for w in (done[0], work))
    assert built.summary["model"] == "sft"
    assert [i.item_id for i in before] == [i.item_id for i in after]
    assert all(b.value != a.value for b, a in zip(before, after, strict=True))


def test_checkpoints_of_another_chain_are_refused(inputs, tmp_path):
    first = trained(inputs["model"], tmp_path / "a")
    with pytest.raises(MissingInput, match="does not follow"):
        subject_of(inputs | {"checkpoint_0": first, "checkpoint_1": first})
    with pytest.raises(MissingInput, match="is no checkpoint"):
        subject_of(inputs | {"checkpoint_0": tmp_path})
    with pytest.raises(MissingInput, match="'model'"):
        subject_of({"dataset": tmp_path})


def test_rows_that_do_not_fit_are_left_out_with_their_reason(inputs, tmp_path):
    long = factory.talk("en-0", "en").model_copy(update={"record_id": ""})
    messages = (long.messages[0].model_copy(update={"content": "x" * 900}), *long.messages[1:])
    talks = [
        factory.talk("zh-0", "zh"),
        type(long).model_validate(long.model_dump() | {"messages": messages}),
    ]
    factory.dataset(inputs["dataset"], talks=talks)
    work = factory.workspace(tmp_path, inputs)
    settings = EvaluateSettings(benchmarks=("held_out",), samples=0, max_length_tokens=500)
    built = build_evaluation(settings, work)
    assert built.counts == {"rows_in": 2, "accepted": 1, "quarantined": 1}
    row = json.loads((work.out / "left_out.jsonl").read_text(encoding="utf-8"))
    assert "max_length_tokens is 500" in row["detail"]


def test_an_empty_benchmark_raises_and_is_never_zero(inputs, tmp_path):
    factory.dataset(inputs["dataset"], pairs=[])
    with pytest.raises(EmptyBenchmark, match="has no row.*leave this benchmark out"):
        build_evaluation(NO_QUESTIONS, factory.workspace(tmp_path, inputs))


def test_a_benchmark_or_language_named_twice_is_refused():
    for settings in ({"benchmarks": ("questions", "questions")}, {"languages": ("en", "en")}):
        with pytest.raises(ValueError, match="named twice"):
            EvaluateSettings(**settings)


def test_a_benchmark_of_which_no_row_fits_raises(inputs, tmp_path):
    settings = EvaluateSettings(benchmarks=("held_out",), max_length_tokens=3)
    with pytest.raises(EmptyBenchmark, match="none of 6 rows.*max_length_tokens is 3"):
        build_evaluation(settings, factory.workspace(tmp_path, inputs))


def test_a_missing_split_is_named(inputs, tmp_path):
    (inputs["dataset"] / "sft" / "test.parquet").unlink()
    with pytest.raises(MissingInput, match=r"sft/test\.parquet"):
        build_evaluation(NO_QUESTIONS, factory.workspace(tmp_path, inputs))
    with pytest.raises(MissingInput, match="'dataset'"):
        build_evaluation(NO_QUESTIONS, factory.workspace(tmp_path, {"model": inputs["model"]}))


def test_talks_with_tools_are_left_out_and_named(inputs, tmp_path):
    talk, other = factory.talk("en-0", "en"), factory.talk("en-1", "en")
    with_tools = type(talk).model_validate(
        talk.model_dump(exclude={"record_id"}) | {"tools": [{"name": "lab"}]}
    )
    settings = EvaluateSettings(benchmarks=("held_out",), samples=0)
    factory.dataset(inputs["dataset"], talks=[with_tools, other])
    place = factory.workspace(tmp_path, inputs)
    build_evaluation(settings, place)
    (left,) = map(json.loads, (place.out / "left_out.jsonl").read_text().splitlines())
    assert (left["fault"], "defines tools" in left["detail"]) == ("cannot_be_measured", True)
    assert {item.item_id for item in read_items(place.out)} == {other.record_id}
    factory.dataset(inputs["dataset"], talks=[with_tools])
    with pytest.raises(EmptyBenchmark, match="defines tools"):
        build_evaluation(settings, factory.workspace(tmp_path, inputs))


def test_the_key_knows_the_questions_and_a_wrong_digest_is_refused(inputs, tmp_path):
    assert len(str(keyed_settings(QUICK)["questions_digest"])) == 64
    stale = QUICK.model_copy(update={"questions_digest": "0" * 64})
    with pytest.raises(QuestionError, match="questions_digest"):
        build_evaluation(stale, factory.workspace(tmp_path, inputs))


def trained(model, folder):
    """A checkpoint artifact with a random adapter on the base."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        get_peft_model(load_model(model / "model"), config).save_pretrained(folder / "adapter")
    digest = digest_file(folder / "adapter" / "adapter_model.safetensors")
    chain = [{"stage": "sft", "adapter_digest": digest}]
    (folder / "stage.json").write_text(json.dumps({"stage": "sft", "chain": chain}))
    shutil.rmtree(folder / "state", ignore_errors=True)
    return folder
