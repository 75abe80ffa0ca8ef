"""Every generator through the real command: made, validated, reported, estimated, reused."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from artifacts.store import Store
from flows.dry_run import dry_run
from flows.overrides import SettingsError
from flows.parameters import Changes, Place
from flows.settings import read_settings
from tests.datagen.generators import (
    test_passage,
    test_question_answer,
    test_safety,
    test_summary,
    test_tool_use,
)
from tests.fake_llm import Body, FakeLLM
from tests.flows.scripted_llm import scripted_reply

ROWS = 6
PROFILE = f"""
endpoint: teacher
generate: {{cases_per_language: 3, conversations_per_case: 2, talk: {{doctor_turns: 4}}}}
preferences: {{methods: [sampled], samples: 2}}
generators:
  question_answer: {{rows: {ROWS}, most_alike: 0.9}}
  safety: {{rows: {ROWS}, most_alike: 0.95}}
  clinic: {{kind: tool_use, rows: {ROWS}, most_alike: 0.95}}
  summary: {{rows: {ROWS}}}
  passage: {{rows: {ROWS}, most_alike: 0.9, limits: {{min_width: 100}}}}
"""
PLAYERS = {
    ("teaching texts", "教学文章"): test_passage.written,
    ("collect questions", "收集人们"): test_question_answer.play,
    ("harder to answer", "更难答好"): test_question_answer.play,
    ("answer one question", "回答一个问题"): test_question_answer.play,
    ("online medical service", "网上医疗服务"): test_safety.play(test_safety.SAFE),
    ("clinic's assistant", "门诊助手"): test_tool_use.play(),
    ("an outpatient clinic", "门诊的助手"): test_tool_use.play(),
    ("write clinical notes", "替一位有经验的医生写病历"): test_summary.play(),
}


def reply(body: Body) -> str:
    first = body["messages"][0]["content"]
    for marks, player in PLAYERS.items():
        if any(mark in first for mark in marks):
            return player(body)
    return scripted_reply(body)


def declare(folder, server):
    (folder / "endpoints.yaml").write_text(
        f"endpoints:\n  teacher: {{base_url: {server.base_url}, model: fake, free: true}}\n"
    )
    (folder / "profile.yaml").write_text(PROFILE)
    return Place(home=folder / "home", endpoints_file=folder / "endpoints.yaml")


def run(folder, *more):
    command = [sys.executable, "-m", "medfactory.cli", "generate"]
    command += ["--profile", str(folder / "profile.yaml"), "--home", str(folder / "home")]
    command += ["--endpoints-file", str(folder / "endpoints.yaml"), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators")
    with FakeLLM(reply) as server:
        declare(folder, server)
        run(folder)
        yield folder, server


def test_rows_of_every_generator_stand_in_the_data_set(made):
    folder, _ = made
    store = Store(folder / "home" / "store")
    dataset = next(m for m in store.manifests() if m.step == "dataset")
    counts = dataset.counts
    assert counts["rows_in"] == counts["accepted"] + counts["quarantined"]
    place = store.ref(dataset).folder
    tables = [pd.read_parquet(path) for path in sorted(place.glob("sft/*.parquet"))]
    sources = pd.concat(tables)["source"].str.split("/").str[0].value_counts()
    kinds = ("question_answer", "safety", "tool_use", "summary")
    assert {kind: int(sources[kind]) for kind in kinds} == dict.fromkeys(kinds, ROWS)
    passages = pd.concat(pd.read_parquet(p) for p in sorted(place.glob("passage/*.parquet")))
    assert len(passages) == ROWS
    assert {"generated_clinic", "generated_passage"} <= set(dataset.inputs)


def test_a_second_run_buys_nothing_and_a_change_redoes_that_generator_alone(made):
    folder, server = made
    before = len(server.requests)
    assert "0 built" in run(folder)
    assert len(server.requests) == before
    more = ("--set", "generators.more.kind=passage", "--set", "generators.more.rows=2")
    output = run(folder, "--set", f"safety.rows={ROWS + 1}", *more)
    assert "safety.rows" in output or f"rows {ROWS} → {ROWS + 1}" in output
    # The generator that changed, the one that was added, the data set and the report.
    assert "4 built" in output
    paid = [s for s in server.requests[before:] if "completions" in s.path]
    assert 0 < len(paid) <= 6 + 2
    store = Store(folder / "home" / "store")
    assert [m.counts["rows_in"] for m in store.manifests() if m.step == "generated_more"] == [2]


def test_a_dry_run_counts_the_generators_too(made):
    folder, server = made
    before = len(server.requests)
    place = Place(home=folder / "home", endpoints_file=folder / "endpoints.yaml")
    changes = Changes(overrides={"generators.passage.rows": 60})
    found = {
        step.step: step for step in dry_run(str(folder / "profile.yaml"), changes, place).steps
    }
    assert list(found)[2:] == ["question_answer", "safety", "clinic", "summary", "passage"]
    assert (found["passage"].rows, found["passage"].calls) == (60, 60)
    assert found["clinic"].calls >= 3 * ROWS - 2
    assert len(server.requests) == before


def test_an_endpoint_that_continues_transcripts_is_refused_before_anything_is_bought(tmp_path):
    with FakeLLM(reply) as server:
        place = declare(tmp_path, server)
        with place.endpoints_file.open("a") as stream:
            stream.write(
                f"  base: {{base_url: {server.base_url}, model: fake, free: true, "
                "style: transcript}\n"
            )
        with pytest.raises(AssertionError, match="question_answer' needs chat endpoints"):
            run(tmp_path, "--endpoint", "base")
        assert server.requests == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"generators.poems.kind": "poem"}, "generators.poems.*poem"),
        ({"generators.safety.turns": 2}, "turns: no such setting"),
        ({"generators.preferences.kind": "safety"}, "as another step is"),
        ({"generators.Bad-Name.kind": "safety"}, "Bad-Name"),
    ],
)
def test_a_wrong_generator_is_named_before_anything_begins(overrides, message):
    with pytest.raises(SettingsError, match=message):
        read_settings("full_data", Changes(overrides=overrides))


def test_the_profile_of_everything_names_every_kind():
    from datagen.generators.catalogue import GENERATORS

    settings = read_settings("full_data", Changes())
    assert {one.kind for one in settings.generators.values()} <= set(GENERATORS)
    assert set(GENERATORS) <= {one.kind for one in settings.generators.values()}
    json.loads(settings.model_dump_json())
