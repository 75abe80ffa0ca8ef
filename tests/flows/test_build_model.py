"""The whole chain in real processes: built, reused, changed, killed in every phase."""

import json
import signal
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from tests.fake_llm import FakeLLM
from tests.flows.factory import Factory
from tests.flows.scripted_llm import scripted_reply

STEPS = ["conversations", "preferences", "dataset", "student", "sft", "dpo", "report"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A factory whose chain has been built once, without a disturbance."""
    with FakeLLM(reply=scripted_reply) as server:
        factory = Factory(tmp_path_factory.mktemp("whole") / "run", server)
        factory.output = factory.run(
            environment={"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_KEY": "x"}
        )
        yield factory


def test_one_command_builds_every_step_and_says_where_the_report_is(whole):
    made = [manifest.step for manifest in whole.store.manifests()]
    assert set(STEPS) <= set(made)
    report = whole.store.ref(whole.manifest("report")).folder / "report.html"
    assert str(report) in whole.output
    assert "new: first artifact of this step" in whole.output


def test_rows_in_are_rows_accepted_and_quarantined(whole):
    counts = whole.manifest("dataset").counts
    assert counts["rows_in"] == counts["accepted"] + counts["quarantined"] > 0


def test_the_second_run_reuses_everything_and_sends_nothing(whole):
    before, sent = len(list(whole.store.manifests())), len(whole.server.requests)
    output = whole.run()
    assert f"{before} reused, 0 built" in output
    assert len(list(whole.store.manifests())) == before
    assert len(whole.server.requests) == sent


def test_a_changed_beta_redoes_dpo_and_what_follows_and_nothing_else(whole):
    before = {(m.kind, m.key) for m in whole.store.manifests()}
    output = whole.run("--set", "dpo.beta=0.2")
    fresh = [m.step for m in whole.store.manifests() if (m.kind, m.key) not in before]
    assert sorted(fresh) == ["dpo", "evaluate_dpo", "report"]
    assert "dpo: rebuilt: dpo.beta 0.1 → 0.2" in output


def test_a_run_stopped_in_every_phase_goes_on_to_the_same_result(whole, tmp_path):
    with FakeLLM(reply=scripted_reply, latency_seconds=0.05) as server:
        factory = Factory(tmp_path / "killed", server)

        scratch = factory.folder / "home" / "store" / ".scratch"

        def at_work(pattern):
            return lambda: exists(scratch, pattern)

        def killed(condition):
            stopped = factory.stop_when(condition, signal.SIGKILL)
            assert (stopped.status, stopped.alive) == (-signal.SIGKILL, [])

        def interrupted(condition):
            stopped = factory.stop_when(condition, signal.SIGINT)
            # Where Ctrl-C landed in an `exec` of a text (libraries do so on import), Python ends
            # by the signal itself, whatever status it was asked for; a shell shows 130 for both.
            assert stopped.status in (130, -signal.SIGINT), stopped.output
            assert stopped.alive == []
            assert "type the same command and it goes on" in stopped.output

        killed(lambda: len(factory.paid_requests()) >= 20)
        in_flight = 4
        interrupted(lambda: len(factory.paid_requests()) >= 50)
        interrupted(at_work("preferences-*"))
        interrupted(at_work("dataset-*"))
        interrupted(at_work("model-*"))
        killed(at_work("checkpoint-*/state/sft-*/checkpoints/*/*.json"))
        interrupted(at_work("checkpoint-*/state/dpo-*/checkpoints/*/*.json"))
        interrupted(at_work("evaluation-*/state/progress.jsonl"))

        assert " 0 built" not in factory.run()
        assert factory.bought_twice() <= in_flight
    for step in ("conversations", "preferences", "dataset", "sft", "dpo"):
        made = factory.manifest(step)
        undisturbed = whole.store.find(made.kind, made.key)
        assert undisturbed is not None, step
        assert made.content_digest == undisturbed.content_digest, step
    assert factory.manifest("sft").attempts == 2


def test_prefect_shows_progress_and_a_page_for_each_step(whole):
    database = whole.folder / "home" / "prefect" / "prefect.db"
    with closing(sqlite3.connect(database)) as connection:
        found = set(connection.execute("select type, key from artifact"))
    assert {("markdown", step) for step in STEPS} <= found
    assert ("progress", "conversations-progress") in found


def test_prefects_log_says_why_each_step_was_built_and_what_came_of_it(whole):
    database = whole.folder / "home" / "prefect" / "prefect.db"
    with closing(sqlite3.connect(database)) as connection:
        lines = [row[0] for row in connection.execute("select message from log")]
    for step in STEPS:
        assert f"{step}: new: first artifact of this step" in lines
        assert any(line.startswith(f"{step}: built in ") for line in lines), step


def test_the_reports_numbers_are_those_of_the_tables_worked_out_again(whole):
    report = whole.store.ref(whole.manifest("report")).folder
    scorecard = json.loads((report / "scorecard.json").read_text())
    values = {
        name: measured(whole.store.ref(whole.manifest(f"evaluate_{name}")).folder)
        for name in scorecard["models"]
    }
    shown = [line for line in scorecard["scores"] if line["language"] == "all"]
    assert len(shown) == len(values) * len(values["base"]) > 0
    for line in shown:
        own = values[line["model"]][line["benchmark"], line["metric"]]
        assert line["items"] == len(own)
        assert line["mean"] == pytest.approx(own.mean(), abs=1e-12)
    assert scorecard["comparisons"]
    for line in scorecard["comparisons"]:
        new, old = (
            values[line[side]][line["benchmark"], line["metric"]] for side in ("model", "against")
        )
        assert set(new.index) == set(old.index)
        assert line["difference"] == pytest.approx((new - old).mean(), abs=1e-12)


def measured(evaluation):
    """(benchmark, metric) → the values of a model's items by their names, out of the table."""
    table = pd.read_parquet(evaluation / "items.parquet")
    groups = table.groupby(["benchmark", "metric"])
    return {name: group.set_index("item_id").value for name, group in groups}


def exists(folder, pattern):
    """Whether a file matches; folders may be renamed while they are looked through."""
    try:
        return any(folder.glob(pattern))
    except FileNotFoundError:
        return False
