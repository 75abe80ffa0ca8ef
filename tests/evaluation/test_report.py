import json
import re
from html.parser import HTMLParser

import pytest

from artifacts.step import Built, Step, ensure, keyed_settings
from artifacts.store import Store
from evaluation.errors import MismatchedItems, MissingInput
from evaluation.items import read_items
from evaluation.material import read_curves
from evaluation.provenance import StepHistory, direct_edges, gather, step_lines
from evaluation.report import ReportSettings, build_report
from tests.evaluation import factory
from validation.schemas import Frozen, Quarantined

MODELS = ("base", "sft", "dpo")
METRICS = [{"step": i, "loss": 3.0 - i, "rewards/accuracies": i / 4} for i in range(1, 4)]


@pytest.fixture
def inputs(tmp_path):
    made = {
        "base": factory.items(20, 3.0, 6, 10),
        "sft": factory.items(20, 2.0, 8, 10, margin=1.0),
        "dpo": factory.items(20, 2.0, 6, 19, margin=3.0),
    }
    folders = {
        f"evaluation_{name}": factory.evaluation(tmp_path / name, items, f"<i>{name}</i> 说")
        for name, items in made.items()
    }
    return folders | {
        "dataset": factory.dataset(tmp_path / "dataset"),
        "conversations": factory.conversations(tmp_path / "conversations"),
        "checkpoint_sft": factory.checkpoint(tmp_path / "sft_checkpoint", METRICS),
    }


def page_of(settings, inputs, root):
    work = factory.workspace(root, inputs)
    built = build_report(settings, work)
    return (work.out / "report.html").read_text(encoding="utf-8"), built, work


class Reader(HTMLParser):
    """Counts open tags, and keeps what would be loaded from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attributes):
        self.loads += [v for k, v in attributes if k in ("src", "href") and not v.startswith("#")]
        if tag not in ("meta", "br", "link", "img", "line", "circle", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_loads_nothing_and_opens_with_the_verdict(inputs, tmp_path, language):
    settings = ReportSettings(models=MODELS, language=language)
    text, built, _ = page_of(settings, inputs, tmp_path)
    reader = Reader()
    reader.feed(text)
    assert (reader.open, reader.loads) == ([], [])
    assert "url(" not in text
    assert "http" not in text.replace('http-equiv="Content', "")
    body = text[text.index("<main>") :]
    assert body.index(built.summary["verdict"]) < body.index('id="scores"')
    assert "{" not in re.sub(r"<style>.*</style>|<pre>.*?</pre>", "", text, flags=re.DOTALL)


def test_the_page_says_what_is_noise_and_what_is_not(inputs, tmp_path):
    text, built, _ = page_of(ReportSettings(models=MODELS), inputs, tmp_path)
    assert "dpo is better than base: 3.010 → 2.010 (−1.000 nats per token)" in text
    assert "The difference between dpo and base is noise: 30.0\u00a0% → 30.0\u00a0%" in text
    assert "would reliably be found" in text
    assert built.summary["verdict"] == (
        "dpo against base: better on 2 of 3 measures, no more than noise on 1."
    )


def test_words_of_models_and_patients_are_escaped(inputs, tmp_path):
    text, _, _ = page_of(ReportSettings(models=MODELS), inputs, tmp_path)
    assert "&lt;i&gt;dpo&lt;/i&gt; 说" in text
    assert "<i>dpo" not in text
    assert "the patient says &lt;b&gt;flu" in text


def test_talks_stand_beside_their_scripted_control_in_both_languages(inputs, tmp_path):
    text, _, _ = page_of(ReportSettings(models=MODELS, shown_per_language=1), inputs, tmp_path)
    section = text[text.index('id="talks"') : text.index('id="replies"')]
    assert section.count("Scripted control</div>") == 2
    assert section.count("without a fault in any check") == 1
    assert all(section.count(words) == 2 for words in factory.ADVICE.values())


def test_kept_talks_with_a_tolerated_fault_say_so(inputs, tmp_path):
    kept = [
        factory.talk("en-0", "en", faults=["red_flag_not_acted_on"]),
        factory.talk("zh-0", "zh"),
    ]
    fell = factory.talk("en-1", "en", faults=["loop"])
    factory.dataset(inputs["dataset"], talks=kept)
    factory.conversations(inputs["conversations"], [*kept, fell])
    text, _, _ = page_of(ReportSettings(models=MODELS), inputs, tmp_path)
    section = text[text.index('id="talks"') : text.index('id="replies"')]
    assert "tolerate it: red flag not acted on, in 1 of 2 consultations." in section
    assert "goes round in circles" not in section
    # Each talk has two turns of the doctor, of which one asks.
    assert "<td>consultations</td><td>3</td><td>2</td><td>6</td>" in section
    assert section.count("<td>50\u00a0%</td>") == 3


def test_rows_that_no_model_was_measured_on_are_told(inputs, tmp_path):
    long = Quarantined(
        raw="{}", fault="cannot_be_measured", detail="9 tokens", origin="sft/test.parquet:3"
    )
    for name in MODELS:
        factory.evaluation(inputs[f"evaluation_{name}"], factory.items(9, 2.0, 1, 1), "", [long])
    text, _, _ = page_of(ReportSettings(models=MODELS), inputs, tmp_path)
    assert "1 held-out rows of sft/test.parquet were measured on no model" in text
    (inputs["evaluation_sft"] / "left_out.jsonl").unlink()
    with pytest.raises(MissingInput, match=r"left_out\.jsonl"):
        page_of(ReportSettings(models=MODELS), inputs, tmp_path)


def test_what_fell_is_told_by_speaker_and_not_as_json(inputs, tmp_path):
    tried = {"prompt": [{"role": "user", "content": "It hurts."}], "candidates": ["Where?", "Oh."]}
    whole = factory.report()
    example = whole.examples["diagnosis_leaked"][0]
    shown = {"tie": [example.model_copy(update={"text": json.dumps(tried)})]}
    report = whole.model_copy(update={"examples": whole.examples | shown})
    (inputs["dataset"] / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    text, _, _ = page_of(ReportSettings(models=MODELS), inputs, tmp_path)
    assert "Patient: It hurts.\n→ Where?\n→ Oh." in text
    assert "Patient: 我得了流感。" in text


def test_talks_that_call_tools_are_shown_too(inputs, tmp_path):
    talk = factory.talk("zh-0", "zh")
    values = talk.model_dump(exclude={"record_id"}) | {"tools": [{"name": "lab"}]}
    factory.dataset(inputs["dataset"], talks=[type(talk).model_validate(values)])
    text, _, _ = page_of(ReportSettings(models=MODELS), inputs, tmp_path)
    assert text.count(factory.ADVICE["zh"]) >= 2


def test_the_embedded_models_data_come_with_a_warning(inputs, tmp_path):
    for embedded in (True, False):
        settings = ReportSettings(models=MODELS, embedded=embedded)
        text, _, _ = page_of(settings, inputs, tmp_path / str(embedded))
        assert ("not clinical quality" in text) is embedded


def test_the_scorecard_is_numbers_alone_and_the_same_each_time(inputs, tmp_path):
    texts = []
    for run in ("a", "b"):
        history = (StepHistory(name=run, kind="dataset", key=run, status="built"),)
        settings = ReportSettings(models=MODELS, history=history)
        _, built, work = page_of(settings, inputs, tmp_path / run)
        texts.append((work.out / "scorecard.json").read_text(encoding="utf-8"))
        assert built.volatile == ("report.html",)
    assert texts[0] == texts[1]
    scores = json.loads(texts[0])["scores"]
    right = next(s for s in scores if (s["model"], s["metric"]) == ("sft", "accuracy"))
    values = [
        i.value
        for i in read_items(inputs["evaluation_sft"])
        if (i.benchmark, i.metric) == ("questions", "accuracy")
    ]
    assert right["mean"] == sum(values) / len(values) == 0.4


def test_the_history_is_no_part_of_the_key():
    history = (StepHistory(name="x", kind="dataset", key="x", status="reused"),)
    told = ReportSettings(models=MODELS, history=history)
    assert keyed_settings(told) == keyed_settings(ReportSettings(models=MODELS))


def test_one_model_alone_and_no_checkpoint_make_a_page_too(inputs, tmp_path):
    kept = {name: inputs[name] for name in ("evaluation_base", "dataset")}
    text, built, _ = page_of(ReportSettings(models=("base",)), kept, tmp_path)
    assert "measured alone" in built.summary["verdict"]
    assert "No model of this report was trained." in text


def test_missing_inputs_are_named(inputs, tmp_path):
    for missing in ("evaluation_sft", "dataset"):
        kept = {name: folder for name, folder in inputs.items() if name != missing}
        with pytest.raises(MissingInput, match=missing):
            page_of(ReportSettings(models=MODELS), kept, tmp_path)


def test_evaluations_on_other_items_are_refused(inputs, tmp_path):
    factory.evaluation(inputs["evaluation_dpo"], factory.items(5, 2.0, 1, 1))
    with pytest.raises(MismatchedItems):
        page_of(ReportSettings(models=MODELS), inputs, tmp_path)


def test_a_model_that_is_still_its_reference_ranks_nothing(tmp_path):
    still = {"rewards/chosen": 6e-7, "rewards/rejected": -2e-6, "rewards/accuracies": 1.0}
    moved = {"rewards/chosen": 2e-3, "rewards/rejected": 1e-3, "rewards/accuracies": 0.5}
    steps = [{"step": 1, "loss": 0.7, **still}, {"step": 2, "loss": 0.6, **moved}]
    curves = read_curves({"dpo": factory.checkpoint(tmp_path / "dpo", steps)})
    points = {curve.metric: curve.points for curve in curves}
    assert points == {"loss": ((1, 0.7), (2, 0.6)), "rewards/accuracies": ((2, 0.5),)}


def test_a_model_named_twice_is_refused():
    with pytest.raises(ValueError, match="named twice"):
        ReportSettings(models=("base", "base"))


class Settings(Frozen):
    """A step's settings."""

    seed: int = 7


@pytest.fixture
def lineage(tmp_path):
    """Talks → data → model, and the model reads the talks as well."""
    store = Store(tmp_path / "store")

    def made(name, **inputs):
        def build(work):
            (work.out / "x").write_text(name)
            return Built(summary={"usage": {"prompt_tokens": 1200}}, cost_usd=0.25)

        return ensure(store, Step(name, 1, name, Settings(), inputs, build)).ref

    talks = made("talks")
    data = made("data", talks=talks)
    return made("model", data=data, talks=talks)


def test_lineage_goes_up_to_the_sources(lineage):
    manifests = gather([lineage.folder, lineage.folder])
    assert [manifest.step for manifest in manifests.values()] == ["talks", "data", "model"]
    lines = step_lines(manifests, ())
    assert [(line.name, line.depth) for line in lines] == [("talks", 0), ("data", 1), ("model", 2)]
    assert lines[0].tokens == {"prompt_tokens": 1200}


def test_the_graph_leaves_out_what_a_longer_way_tells(lineage):
    edges = [(source[0], target[0]) for source, target in direct_edges(gather([lineage.folder]))]
    assert edges == [("talks", "data"), ("data", "model")]


def test_time_and_cost_come_from_manifests_and_the_runs_history(lineage, inputs, tmp_path):
    history = (
        StepHistory(name="student", kind="model", key=lineage.key, status="reused", seconds=0.1),
    )
    settings = ReportSettings(models=MODELS, history=history)
    text, _, _ = page_of(settings, inputs | {"model": lineage.folder}, tmp_path)
    section = text[text.index('id="cost"') :]
    assert "<b>student</b></td><td>reused</td><td>0.1 s</td>" in section
    assert "0.7500" in section
    assert "1,200 read" in section
    assert f"model/{lineage.key[:8]}" in section
