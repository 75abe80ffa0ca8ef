import asyncio
import logging
from datetime import date, timedelta

import pytest

from endpoints.errors import ConfigurationError
from endpoints.prices import Prices, find_prices, read_prices, stale_price
from endpoints.settings import cost_usd, read_endpoints
from tests.endpoints.fake_endpoint import PRICES, ask, endpoint, question
from tests.fake_llm import FakeLLM

MINE = """
models:
  gpt-5-mini: {input_usd_per_million_tokens: 9, output_usd_per_million_tokens: 8, as_of: 2026-11-20}
  own-model: {input_usd_per_million_tokens: 3, output_usd_per_million_tokens: 4, as_of: 2026-11-20}
"""
ENDPOINTS = """
endpoints:
  openai: {base_url: "https://api.openai.com/v1", model: gpt-5-mini}
  proxy: {base_url: "https://proxy.example.org/v1", model: gpt-5-mini}
  own: {base_url: "https://own.example.org/v1", model: own-model}
  free: {base_url: "https://own.example.org/v1", model: own-model, free: true}
  declared:
    base_url: https://api.openai.com/v1
    model: gpt-5-mini
    prices: {input_usd_per_million_tokens: 7, output_usd_per_million_tokens: 7, as_of: 2026-11-01}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text(ENDPOINTS)
    return tmp_path


def input_prices(environment):
    return {
        name: settings.prices and settings.prices.input_usd_per_million_tokens
        for name, settings in read_endpoints(environment=environment).items()
    }


def test_every_packaged_price_has_a_date_that_has_been_a_source_and_a_host():
    packaged = read_prices({})
    assert packaged
    for model, prices in packaged.items():
        assert date(2026, 1, 1) < prices.as_of <= date.today(), model
        assert prices.source, model
        assert prices.host, model
        assert 0 < prices.input_usd_per_million_tokens < prices.output_usd_per_million_tokens
        assert prices.cached_input_usd_per_million_tokens < prices.input_usd_per_million_tokens


def test_a_packaged_price_holds_on_its_own_host_and_nowhere_else(files):
    packaged = read_prices({})["gpt-5-mini"].input_usd_per_million_tokens
    found = input_prices({})
    assert found == {
        "embedded": None, "openai": packaged, "proxy": None, "own": None, "free": None,
        "declared": 7,
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"no price.*prices\.yaml"):
        cost_usd(read_endpoints(environment={})["proxy"], 1, 1)


def test_the_persons_prices_stand_above_the_packaged_ones_wherever_the_model_is(files):
    (files / "prices.yaml").write_text(MINE)
    expected = {"openai": 9, "proxy": 9, "own": 3, "free": None, "declared": 7, "embedded": None}
    assert input_prices({}) == expected
    (files / "prices.yaml").rename(files / "elsewhere.yaml")
    assert input_prices({"MEDFACTORY_PRICES": str(files / "elsewhere.yaml")}) == expected


def test_a_file_of_prices_that_is_named_but_absent_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"prices' file .*gone.yaml cannot be read"):
        read_prices({"MEDFACTORY_PRICES": str(tmp_path / "gone.yaml")})


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("as_of", "as_off", r"prices\.yaml: unknown key 'models\.gpt-5-mini\.as_off'.*'as_of'"),
        ("models:", "model:", r"unknown key 'model' \(did you mean 'models'"),
        ("_tokens: 9", "_tokens: -9", r"models\.gpt-5-mini\.input_usd.*greater than or equal"),
        ("as_of: 2026-11-20", "batch_share: 0.5", r"as_of: Field required"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, right, wrong, said):
    (tmp_path / "prices.yaml").write_text(MINE.replace(right, wrong, 1))
    with pytest.raises(ConfigurationError, match=said):
        read_prices({"MEDFACTORY_PRICES": str(tmp_path / "prices.yaml")})


def test_cached_tokens_and_batches_are_cheaper():
    prices = Prices(
        input_usd_per_million_tokens=2.0,
        cached_input_usd_per_million_tokens=0.5,
        output_usd_per_million_tokens=8.0,
        batch_share=0.5,
        as_of=date(2026, 11, 1),
    )
    assert prices.cost_usd(1_000_000, 0) == 2.0
    assert prices.cost_usd(1_000_000, 0, cached_tokens=400_000) == pytest.approx(1.4)
    assert prices.cost_usd(1_000_000, 1_000_000, 400_000, batch=True) == pytest.approx(4.7)
    assert prices.cost_usd(1_000_000, 0, cached_tokens=9_000_000) == 0.5  # more than there are
    assert PRICES.cost_usd(1_000_000, 0, cached_tokens=400_000) == 1.0  # no discount is known
    assert PRICES.cost_usd(1_000_000, 0, batch=True) == 1.0


def test_a_cache_that_costs_more_than_none_is_refused():
    with pytest.raises(ValueError, match="cached input cannot cost more"):
        Prices.model_validate(PRICES.model_dump() | {"cached_input_usd_per_million_tokens": 1.5})


def test_a_bill_counts_what_the_endpoint_had_in_its_cache(journal):
    prices = PRICES.model_copy(update={"cached_input_usd_per_million_tokens": 0.1})
    with FakeLLM(cached_tokens=4) as server:
        settings = endpoint(server.base_url, prices=prices)
        answer = asyncio.run(ask(settings, journal, question()))[0]
    full = answer.prompt_tokens * 1e-6 + answer.completion_tokens * 2e-6
    assert answer.cost_usd == pytest.approx(full - 4 * 0.9e-6)


def test_an_old_price_is_warned_of_and_a_new_one_is_not():
    assert stale_price("m", PRICES, PRICES.as_of + timedelta(days=180)) is None
    assert "181 days old" in stale_price("m", PRICES, PRICES.as_of + timedelta(days=181))
    assert stale_price("m", None, date.today()) is None


def test_a_run_with_an_old_price_says_so_in_its_log(journal, caplog):
    caplog.set_level(logging.WARNING, "endpoints")
    old = PRICES.model_copy(update={"as_of": date(2020, 1, 1)})
    with FakeLLM() as server:
        asyncio.run(ask(endpoint(server.base_url, prices=old), journal, question()))
    assert "the price of fake is of 2020-01-01" in caplog.text


def test_the_found_price_says_where_it_is_from():
    found = find_prices(read_prices({}), "gpt-5-mini", "https://api.openai.com/v1")
    assert type(found) is Prices
    assert "OpenAI" in found.source
    assert find_prices(read_prices({}), "gpt-5-mini", None) is None
