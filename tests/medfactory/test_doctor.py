import shutil
from collections import namedtuple
from datetime import date

import pytest

from medfactory import doctor
from tests.endpoints.fake_endpoint import endpoint
from tests.fake_llm import FakeLLM


def endpoints_file(tmp_path, base_url, **more):
    lines = [
        "endpoints:",
        "  teacher:",
        f"    base_url: {base_url}",
        f"    model: {more.get('model', 'fake-model')}",
        "    free: true",
        "    key_variable: TEACHER_KEY",
    ]
    path = tmp_path / "endpoints.yaml"
    path.write_text("\n".join(lines))
    return path


def test_an_old_python_is_bad_and_says_what_to_install():
    line = doctor.check_python((3, 10, 4))
    assert line.level == "bad"
    assert "3.11" in line.remedy


def test_a_full_disk_is_bad_and_says_what_to_do(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 99, 2**20))
    line = doctor.check_disk(tmp_path / "not" / "yet")
    assert line.level == "bad"
    assert "medfactory sweep" in line.remedy


def test_a_missing_key_is_named_but_never_shown(tmp_path, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    lines = list(
        doctor.check_endpoint("teacher", endpoints_file(tmp_path, "http://127.0.0.1:9/v1"))
    )
    assert [line.level for line in lines] == ["bad"]
    assert "TEACHER_KEY" in lines[0].remedy


def test_an_endpoint_that_answers_is_ok_and_its_key_stays_hidden(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    with FakeLLM() as server:
        path = endpoints_file(tmp_path, server.base_url, model="fake")
        lines = list(doctor.check_endpoint("teacher", path))
    assert [line.level for line in lines] == ["ok", "ok", "ok"]
    assert "very-secret" not in repr(lines)


def test_an_endpoint_that_is_down_says_where_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    path = endpoints_file(tmp_path, "http://127.0.0.1:9/v1")
    line = list(doctor.check_endpoint("teacher", path))[-1]
    assert line.level == "bad"
    assert "127.0.0.1:9" in line.remedy
    assert "very-secret" not in repr(line)


def test_a_model_that_the_endpoint_lacks_is_named_with_those_it_has(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sk-x")
    with FakeLLM() as server:
        path = endpoints_file(tmp_path, server.base_url, model="gpt-unknown")
        line = list(doctor.check_endpoint("teacher", path))[-1]
    assert line.level == "bad"
    assert "gpt-unknown" in line.remedy
    assert "fake" in line.remedy


def test_the_embedded_endpoint_is_found():
    line = list(doctor.check_endpoint("embedded", None))[-1]
    assert line.level == "ok"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "nonsense"])
def test_a_prefect_server_that_does_not_answer_is_a_note_not_an_end(url):
    line = doctor.check_prefect_api(url)
    assert line.level == "note"
    assert "prefect server start" in line.remedy


def test_an_old_price_is_noted_and_a_missing_one_is_bad():
    settings = endpoint("http://127.0.0.1:9/v1")  # its price is of 2026-11-01
    assert doctor.check_price(settings, date(2026, 11, 2)).level == "ok"
    old = doctor.check_price(settings, date(2027, 6, 1))
    assert old.level == "note"
    assert "212 days old" in old.remedy
    assert doctor.check_price(endpoint("http://h/v1", prices=None), date.today()).level == "bad"
    assert doctor.check_price(endpoint("http://h/v1", free=True), date.today()).level == "ok"
