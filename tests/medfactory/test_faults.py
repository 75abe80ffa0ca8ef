"""Bad input as a person meets it: one clear message, status 1, no traceback, no process left."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.fake_llm import FakeLLM

PROFILE = """
endpoint: teacher
generate: {cases_per_language: 1, conversations_per_case: 1, talk: {doctor_turns: 2}}
stages:
  sft: {}
"""
SECRET = "sk-never-to-be-shown"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose Prefect database is made once for all tests here."""
    return tmp_path_factory.mktemp("faults") / "home"


def endpoints(folder: Path, **more: str) -> str:
    entry = {"base_url": "http://127.0.0.1:9/v1", "model": "fake", "free": "true"} | more
    lines = [f"    {name}: {value}" for name, value in entry.items()]
    path = folder / "endpoints.yaml"
    path.write_text("endpoints:\n  teacher:\n" + "\n".join(lines) + "\n")
    return str(path)


def refused(home: Path, *arguments: str, key: str | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "TEACHER_KEY"}
    if key:
        environment["TEACHER_KEY"] = key
    process = subprocess.Popen(
        [sys.executable, "-m", "medfactory.cli", *arguments, "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert SECRET not in output
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(home) in str(p.info["cmdline"])]
    return output


def profile(folder: Path, text: str = PROFILE) -> str:
    path = folder / "profile.yaml"
    path.write_text(text)
    return str(path)


def test_an_endpoint_that_is_down_says_where_and_what_to_do(home, tmp_path):
    files = ("--profile", profile(tmp_path), "--endpoints-file", endpoints(tmp_path))
    output = refused(home, "generate", *files)
    assert "EndpointDown" in output
    assert "127.0.0.1:9" in output


def test_a_missing_key_names_its_variable(home, tmp_path):
    file = endpoints(tmp_path, key_variable="TEACHER_KEY")
    files = ("--profile", profile(tmp_path), "--endpoints-file", file)
    assert "TEACHER_KEY" in refused(home, "generate", *files)


def test_a_refused_key_is_never_shown(home, tmp_path):
    with FakeLLM(key="another") as server:
        file = endpoints(tmp_path, base_url=server.base_url, key_variable="TEACHER_KEY")
        files = ("--profile", profile(tmp_path), "--endpoints-file", file)
        assert "KeyRefused" in refused(home, "generate", *files, key=SECRET)
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_an_unknown_model_is_named_with_those_there_are(home, tmp_path):
    with FakeLLM(models=("good-model",)) as server:
        file = endpoints(tmp_path, base_url=server.base_url, model="gpt-unknown")
        files = ("--profile", profile(tmp_path), "--endpoints-file", file)
        output = refused(home, "generate", *files)
        assert not [seen for seen in server.requests if "completions" in seen.path]
    assert "gpt-unknown" in output
    assert "good-model" in output


def test_a_misspelt_key_of_the_endpoints_file_says_what_was_meant(home, tmp_path):
    file = endpoints(tmp_path, max_in_fligth="3")
    files = ("--profile", profile(tmp_path), "--endpoints-file", file)
    assert "did you mean 'max_in_flight'" in refused(home, "generate", *files)


def test_a_misspelt_setting_of_the_profile_says_what_was_meant(home, tmp_path):
    text = PROFILE.replace("sft: {}", "sft: {learning_rte: 0.1}")
    output = refused(home, "generate", "--profile", profile(tmp_path, text))
    assert "did you mean 'learning_rate'" in output


def test_a_misspelt_override_says_what_was_meant(home, tmp_path):
    output = refused(home, "generate", "--profile", profile(tmp_path), "--set", "sft.sed=3")
    assert "did you mean 'seed'" in output


def test_an_empty_data_set_says_which_rows_fell_and_why(home, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "wizard", "content": "abracadabra"}]}\n')
    output = refused(
        home, "generate", "--profile", profile(tmp_path), "--no-generate", "--data", str(rows)
    )
    assert "unknown_role" in output


def test_a_budget_that_is_too_small_stops_before_it_is_passed(home, tmp_path):
    tokens = "input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 2"
    prices = f"{{{tokens}, as_of: 2026-11-01}}"
    with FakeLLM() as server:
        path = Path(endpoints(tmp_path, base_url=server.base_url, prices=prices))
        path.write_text(path.read_text().replace("    free: true\n", ""))
        files = ("--profile", profile(tmp_path), "--endpoints-file", str(path))
        output = refused(home, "generate", *files, "--budget-usd", "0.000001")
        assert not [seen for seen in server.requests if "completions" in seen.path]
    assert "BudgetExceeded" in output


def test_evaluating_without_a_checkpoint_says_how_to_make_one(home):
    assert "medfactory train" in refused(home, "evaluate")
