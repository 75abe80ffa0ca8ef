from pathlib import Path

import pytest

from artifacts.step import keyed_settings
from endpoints.errors import ConfigurationError, KeyMissing
from endpoints.settings import (
    EndpointSettings,
    cost_usd,
    find_endpoint,
    read_endpoints,
    read_key,
)
from tests.endpoints.fake_endpoint import endpoint

TEACHER = """
endpoints:
  teacher:
    base_url: https://api.example.org/v1
    model: big
    key_variable: TEACHER_KEY
    prices: {input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 2, as_of: 2026-11-01}
  embedded:
    embedded: {threads: 4}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "endpoints.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_packaged_endpoint_needs_no_key_and_no_money(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    embedded = read_endpoints(environment={})["embedded"]
    assert embedded.free
    assert embedded.key_variable is None
    assert embedded.style == "transcript"


def test_the_persons_file_is_merged_over_the_packaged_one(tmp_path):
    endpoints = read_endpoints(written(tmp_path, TEACHER), {})
    assert endpoints["teacher"].model == "big"
    assert endpoints["embedded"].embedded.threads == 4
    assert endpoints["embedded"].embedded.slots == 8


def test_the_file_is_found_in_the_working_directory_or_by_its_variable(tmp_path, monkeypatch):
    path = written(tmp_path, TEACHER)
    assert "teacher" in read_endpoints(environment={"MEDFACTORY_ENDPOINTS": str(path)})
    monkeypatch.chdir(tmp_path)
    assert "teacher" in read_endpoints(environment={})


def test_a_file_that_is_named_but_absent_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="gone.yaml cannot be read"):
        read_endpoints(environment={"MEDFACTORY_ENDPOINTS": str(tmp_path / "gone.yaml")})


def test_variables_override_one_endpoint(tmp_path):
    environment = {
        "MEDFACTORY_ENDPOINT_TEACHER_BASE_URL": "http://127.0.0.1:9/v1",
        "MEDFACTORY_ENDPOINT_TEACHER_MODEL": "small",
    }
    teacher = read_endpoints(written(tmp_path, TEACHER), environment)["teacher"]
    assert (teacher.base_url, teacher.model) == ("http://127.0.0.1:9/v1", "small")


@pytest.mark.parametrize("variable", ["TEACHR_MODEL", "TEACHER_URL", "TEACHER_MODELS"])
def test_a_variable_that_overrides_nothing_is_an_error(tmp_path, variable):
    with pytest.raises(ConfigurationError, match="MEDFACTORY_ENDPOINT_TEACHER_(MODEL|BASE_URL)"):
        read_endpoints(written(tmp_path, TEACHER), {f"MEDFACTORY_ENDPOINT_{variable}": "x"})


@pytest.mark.parametrize(
    ("old", "new", "place", "nearest"),
    [
        ("base_url", "base_ulr", "endpoints.teacher.base_ulr", "base_url"),
        ("threads", "thread", "endpoints.embedded.embedded.thread", "threads"),
        ("as_of", "as_off", "endpoints.teacher.prices.as_off", "as_of"),
        ("endpoints:", "endpoint:", "endpoint", "endpoints"),
    ],
)
def test_a_misspelt_key_is_named_with_its_file_and_the_nearest(tmp_path, old, new, place, nearest):
    path = written(tmp_path, TEACHER.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        read_endpoints(path, {})
    assert str(path) in str(caught.value)
    assert f"'{place}'" in str(caught.value)
    assert f"did you mean '{nearest}'?" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "api_key: sk-very-secret",
        "key_variable: sk-very-secret",
        "key_variable: sk_very_secret",
        "base_url: https://host/v1?key=sk-very-secret",
        "base_url: https://me:sk-very-secret@host/v1",
        "max_in_flight: sk-very-secret",
        "model: [sk-very-secret",
    ],
)
def test_a_secret_written_into_the_file_is_refused_without_being_repeated(tmp_path, line):
    others = {"base_url": "https://host/v1", "model": "big"}
    others.pop(line.partition(":")[0], None)
    lines = [line, *(f"{key}: {value}" for key, value in others.items())]
    path = written(tmp_path, "endpoints:\n  teacher:\n    " + "\n    ".join(lines))
    with pytest.raises(ConfigurationError) as caught:
        read_endpoints(path, {})
    assert "very" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["- a", "endpoints: [a]", "endpoints: {a: b}", "a: [", "3"])
def test_a_file_of_another_shape_is_an_error_that_names_it(tmp_path, text):
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"endpoints\.yaml"):
        read_endpoints(path, {})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"base_url": "ftp://host"},
        {"base_url": "host/v1"},
        {"base_url": "http://host:99999/v1"},
        {"base_url": "http://host:port/v1"},
        {"base_url": "http://host /v1"},
        {"base_url": "http://host/v1#part"},
        {"base_url": "http://host/v1", "embedded": {}},
    ],
)
def test_an_endpoint_is_reached_in_exactly_one_way(fields):
    with pytest.raises(ValueError, match=r"base_url|embedded"):
        EndpointSettings(name="a", model="b", **fields)


def test_an_endpoint_is_named_by_its_place_and_not_by_a_key_of_its_own(tmp_path):
    path = written(tmp_path, TEACHER.replace("model: big", "model: big\n    name: other"))
    with pytest.raises(ConfigurationError, match=r"unknown key 'endpoints\.teacher\.name'"):
        read_endpoints(path, {})


@pytest.mark.parametrize(
    "again", ["    model: small", "  teacher:\n    base_url: https://host/v1\n    model: b"]
)
def test_what_stands_twice_in_the_file_is_an_error_that_names_the_line(tmp_path, again):
    path = written(tmp_path, TEACHER.replace("  embedded:\n", f"{again}\n  embedded:\n"))
    with pytest.raises(ConfigurationError, match=r"at line 8: the key '(model|teacher)' .*twice"):
        read_endpoints(path, {})


def test_a_model_file_of_ones_own_needs_a_name_of_its_own(tmp_path):
    own = "endpoints:\n  embedded:\n    embedded: {model_file: own.gguf}\n"
    with pytest.raises(ConfigurationError, match="Name what the file holds in `model`"):
        read_endpoints(written(tmp_path, own), {})
    named = read_endpoints(written(tmp_path, f"{own}    revision: Q8_0\n"), {})["embedded"]
    assert named.embedded.model_file == Path("own.gguf")


def test_a_variable_that_fits_two_endpoints_is_an_error(tmp_path):
    text = (
        TEACHER
        + "  a-b: {model: x, base_url: http://h/v1}\n  a_b: {model: y, base_url: http://h/v1}\n"
    )
    path = written(tmp_path, text)
    assert {"a-b", "a_b"} <= read_endpoints(path, {}).keys()
    with pytest.raises(ConfigurationError, match="several endpoints: a-b, a_b"):
        read_endpoints(path, {"MEDFACTORY_ENDPOINT_A_B_MODEL": "z"})


def test_an_unknown_endpoint_is_answered_with_those_that_exist():
    with pytest.raises(ConfigurationError, match=r"did you mean 'teacher'.*embedded, teacher"):
        find_endpoint(
            {"teacher": endpoint("http://h/v1"), "embedded": endpoint("http://h/v1")}, "techer"
        )


def test_a_price_is_needed_unless_the_endpoint_is_free():
    assert cost_usd(endpoint("http://h/v1"), 1_000_000, 500_000) == pytest.approx(2.0)
    assert cost_usd(endpoint("http://h/v1", free=True), 1_000_000, 0) == 0.0
    with pytest.raises(ConfigurationError, match="free: true"):
        cost_usd(endpoint("http://h/v1", prices=None), 1, 1)


def test_the_key_is_read_when_it_is_needed_and_never_shown():
    settings = endpoint("http://h/v1", key_variable="TEACHER_KEY")
    with pytest.raises(KeyMissing, match="TEACHER_KEY is not set"):
        read_key(settings, {"TEACHER_KEY": " "})
    key = read_key(settings, {"TEACHER_KEY": "sk-secret"})
    assert "sk-secret" not in repr(key)
    assert key.get_secret_value() == "sk-secret"
    assert read_key(endpoint("http://h/v1"), {}) is None


@pytest.mark.parametrize("value", ["Bearer sk-secret", "sk-a\nsecret", "“sk-secret”", "密钥secret"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(value):
    settings = endpoint("http://h/v1", key_variable="TEACHER_KEY")
    with pytest.raises(ConfigurationError, match=r"TEACHER_KEY.*bare key") as caught:
        read_key(settings, {"TEACHER_KEY": value})
    assert "secret" not in str(caught.value)


def test_where_an_endpoint_stands_and_what_it_costs_do_not_change_a_steps_key():
    here = endpoint("http://127.0.0.1:1/v1", max_in_flight=4)
    there = endpoint("https://host/v1", free=True, key_variable="K", timeout_seconds=1)
    assert keyed_settings(here) == keyed_settings(there)
    assert keyed_settings(here) != keyed_settings(endpoint("https://host/v1", model="other"))
