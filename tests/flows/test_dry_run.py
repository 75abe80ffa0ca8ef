import pytest

from datagen.access import LlmAccess
from datagen.estimate import NoPilot
from endpoints.journal import Journal
from flows.dry_run import dry_run
from flows.parameters import Changes, Place
from flows.settings import llm_access, read_settings
from medfactory.runs import count_rows
from tests.fake_llm import FakeLLM
from tests.flows.scripted_llm import scripted_reply

PROFILE = """
endpoint: teacher
generate: {cases_per_language: 6, conversations_per_case: 2, talk: {doctor_turns: 4}}
preferences: {methods: [sampled], samples: 2}
"""
ROWS = 24


@pytest.fixture
def place(tmp_path):
    (tmp_path / "profile.yaml").write_text(PROFILE)
    return Place(home=tmp_path / "home", endpoints_file=tmp_path / "endpoints.yaml")


def declare(place, server, price=1):
    place.endpoints_file.write_text(
        "endpoints:\n"
        f"  teacher: {{base_url: {server.base_url}, model: fake, max_in_flight: 4, prices: "
        f"{{input_usd_per_million_tokens: {price}, output_usd_per_million_tokens: {2 * price}, "
        "as_of: 2026-11-01}}\n"
    )
    return str(place.endpoints_file.with_name("profile.yaml"))


def test_a_dry_run_sends_nothing_and_says_how_to_buy_a_pilot(place):
    with FakeLLM(scripted_reply) as server:
        profile = declare(place, server)
        with pytest.raises(NoPilot, match="add `--pilot 5`"):
            dry_run(profile, Changes(), place)
        assert server.requests == []


def test_a_pilot_is_carried_over_to_all_rows_and_never_bought_again(place):
    with FakeLLM(scripted_reply) as server:
        profile = declare(place, server)
        few = dry_run(profile, Changes(), place, pilot_rows=6)
        bought = len(server.requests)
        again = dry_run(profile, Changes(), place)
        assert len(server.requests) == bought
        assert again == few
        talks, pairs = few.steps
        assert (talks.rows, talks.pilot_rows) == (ROWS, 6)
        assert talks.calls + pairs.calls == ROWS // 6 * bought
        everything = dry_run(profile, Changes(), place, pilot_rows=ROWS)
        asked = {(s.path, str(sorted(s.body.items()))) for s in server.requests}
        assert len(asked) == len(server.requests)
    with Journal(place.home / "journal.sqlite") as journal:
        totals = journal.totals()
    assert sum(step.calls for step in everything.steps) == totals.completions
    assert everything.cost_usd == pytest.approx(totals.cost_usd)
    # The pilot's cases are a cross-section, so its figures come near those of the whole.
    assert few.cost_usd == pytest.approx(everything.cost_usd, rel=0.25)


def test_the_estimate_follows_present_prices(place):
    with FakeLLM(scripted_reply) as server:
        profile = declare(place, server)
        before = dry_run(profile, Changes(), place, pilot_rows=4)
        declare(place, server, price=3)
        after = dry_run(profile, Changes(), place)
    assert after.cost_usd == pytest.approx(3 * before.cost_usd)


def test_the_pilot_keeps_to_the_cap(place):
    from endpoints.errors import BudgetExceeded

    with FakeLLM(scripted_reply) as server:
        profile = declare(place, server)
        with pytest.raises(BudgetExceeded):
            dry_run(profile, Changes(budget_usd=0.001), place, pilot_rows=6)


def test_roles_and_fallbacks_are_named_in_the_profile(place):
    with FakeLLM(scripted_reply) as server:
        profile = declare(place, server)
        with place.endpoints_file.open("a") as stream:
            stream.write(f"  other: {{base_url: {server.base_url}, model: other, free: true}}\n")
        roles = {"judge": "other", "doctor": [{"endpoint": "other"}, {"endpoint": "teacher"}]}
        changes = Changes(overrides={"roles": roles, "fallbacks": ["other"]})
        access = llm_access(read_settings(profile, changes), place, place.home)
    assert isinstance(access, LlmAccess)
    assert [s.endpoint.name for s in access.shares("doctor")] == ["other", "teacher"]
    assert [s.endpoint.name for s in access.shares("patient")] == ["teacher"]
    assert [e.name for e in access.fallbacks] == ["other"]


def test_rows_are_a_number_or_so_many_more_than_there_are(tmp_path):
    from flows.overrides import SettingsError

    assert count_rows("12", tmp_path) == 12
    for bad in ("0", "-3", "many", "+0", "+"):
        with pytest.raises(SettingsError, match="whole number"):
            count_rows(bad, tmp_path)
    with pytest.raises(SettingsError, match="holds none"):
        count_rows("+1", tmp_path)
