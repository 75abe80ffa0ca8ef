import json
import os
import signal
import subprocess
import sys

import pytest

from artifacts.progress import silent
from artifacts.step import Workspace, keyed_settings
from datagen.access import LlmAccess
from datagen.assessment import JudgementLine, judge_mode
from datagen.files import read_lines
from datagen.pair_figures import judge_figures
from datagen.pairing import build_preferences, preference_roles, preferences_key
from datagen.preferences import PreferenceSettings
from endpoints.errors import ConfigurationError
from endpoints.pool import Share
from endpoints.settings import EndpointSettings
from judging.panel import JudgeSettings
from judging.rubric_files import FOLDER
from tests.datagen.judge_player import FLAWED, GOOD, POOR, JudgePlayer, some_cases, write_talks
from tests.fake_llm import FakeLLM
from validation.schemas import PreferencePair, Quarantined

TYPED = PreferenceSettings(methods=("typed_error",), turns_per_conversation=3)
SAMPLED = PreferenceSettings(methods=("sampled",), samples=1, turns_per_conversation=1)


def endpoint(base_url, name="judge", **fields):
    return EndpointSettings(name=name, model="fake", free=True, base_url=base_url, **fields)


def judged_by(base_url, journal, *judges, **roles):
    shares = {"judge": judges or (endpoint(base_url),)} | roles
    return LlmAccess(
        endpoint=endpoint(base_url, "fake"),
        journal=journal,
        roles={role: tuple(Share(endpoint=e) for e in own) for role, own in shares.items()},
    )


class Pairs:
    """What one build gave."""

    def __init__(self, place, built):
        self.summary, self.counts, self.cost_usd = built.summary, built.counts, built.cost_usd
        self.kept = list(read_lines(place / "preferences.jsonl", PreferencePair))
        self.failed = list(read_lines(place / "failed.jsonl", Quarantined))
        self.lines = list(read_lines(place / "judgements.jsonl", JudgementLine))


@pytest.fixture
def build(tmp_path):
    def run(player, settings, each=2, judges=("judge",), roles=(), name="pairs"):
        talks, out = tmp_path / "talks", tmp_path / name
        write_talks(talks, some_cases(each))
        for folder in (out / "out", out / "state"):
            folder.mkdir(parents=True, exist_ok=True)
        place = Workspace(out / "out", out / "state", {"conversations": talks}, silent)
        with FakeLLM(player, models=("fake", "other")) as server:
            own = [endpoint(server.base_url, one) for one in judges]
            for number, one in enumerate(own[1:], start=1):
                own[number] = one.model_copy(update={"model": "other"})
            more = {r: [endpoint(server.base_url, n) for n in names] for r, names in roles}
            access = judged_by(server.base_url, tmp_path / "journal.sqlite", *own, **more)
            if not judges:
                access = access.model_copy(update={"roles": {}})
            made = Pairs(out / "out", build_preferences(settings, access, place))
            made.requests = len(server.requests)
            return made

    return run


def test_a_careless_judge_that_takes_the_first_answer_leaves_ties_and_a_flip_rate_of_one(build):
    made = build(JudgePlayer(careless=True), SAMPLED)
    assert made.counts == {"rows_in": 4, "accepted": 0, "quarantined": 4}
    assert {row.fault for row in made.failed} == {"tie"}
    assert made.summary["ties"] == {"kept": 0, "dropped": 4}
    figures = made.summary["judges"]
    assert figures["flip_rate"]["value"] == figures["first_preferred"]["value"] == 1.0
    assert figures["length_bias"] is None


def test_ties_are_kept_where_that_is_wished_and_say_that_nobody_agrees(build):
    made = build(JudgePlayer(careless=True), SAMPLED.model_copy(update={"ties": "keep"}))
    assert made.counts["accepted"] == made.summary["ties"]["kept"] == 4
    assert {(pair.agreement, pair.flip_rate) for pair in made.kept} == {(0.0, 1.0)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_good_judge_confirms_typed_errors_and_both_orders_stand_on_the_record(build, language):
    made = build(JudgePlayer(), TYPED.model_copy(update={"turns_per_conversation": 99}), each=3)
    pairs = [pair for pair in made.kept if pair.language == language]
    assert len({pair.fault_type for pair in pairs}) >= 6
    assert {pair.verified for pair in pairs} == {"rule", "judge"}
    for pair in pairs:
        said, flawed = pair.chosen[0].content, pair.rejected[0].content
        assert flawed == FLAWED[language][pair.fault_type]
        assert said in GOOD
        assert pair.length_difference == len(said) - len(flawed)
        assert (pair.judges, pair.agreement, pair.flip_rate) == (("judge",), 1.0, 0.0)
        assert pair.margin > 0
    found = made.summary["judges"]["errors_found"]["overall"]
    assert found["recall"]["value"] == found["precision"]["value"] == 1.0
    assert made.summary["judges"]["errors_found"]["none_named"]["value"] == 1.0
    assert made.counts["rows_in"] == len(made.kept) + len(made.failed)
    assert sum(made.summary["verified"].values()) == len(made.kept)


def test_what_only_a_judge_can_tell_is_dropped_where_it_tells_nothing(build):
    made = build(JudgePlayer(names=lambda error, body: []), TYPED, each=4)
    assert {pair.verified for pair in made.kept} == {"rule"}
    assert "error_not_carried" in {row.fault for row in made.failed}
    errors = made.summary["judges"]["errors_found"]
    assert errors["overall"]["recall"]["value"] == 0.0
    assert errors["overall"]["precision"] is None
    by_rule_too = made.summary["judges"]["errors_found_by_rule_too"]["overall"]["recall"]
    assert 0 < by_rule_too["of"] < errors["overall"]["recall"]["of"]


def test_a_chosen_turn_in_which_judges_find_harm_is_no_chosen_one(build):
    player = JudgePlayer(names=lambda error, body: [error] if error else ["wrong_urgency"])
    made = build(player, TYPED)
    assert made.kept == []
    assert "chosen_carries_error" in {row.fault for row in made.failed}
    assert made.summary["judges"]["errors_found"]["none_named"]["value"] == 0.0


@pytest.mark.parametrize(
    ("unverified", "kept"), [("by_judge", False), ("quarantine", False), ("keep", True)]
)
def test_a_divided_panel_verifies_nothing_and_the_setting_says_what_becomes_of_it(
    build, unverified, kept
):
    def names(error, body):
        return [error] if error and body["model"] == "fake" else []

    settings = TYPED.model_copy(update={"unverified": unverified})
    made = build(JudgePlayer(names=names), settings, each=4, judges=("one", "two"))
    assert ("no" in {pair.verified for pair in made.kept}) is kept
    assert ("unverified" in {row.fault for row in made.failed}) is not kept


def test_without_a_judge_rules_alone_decide_and_the_rest_is_kept_unverified(build):
    made = build(JudgePlayer(), TYPED, each=4, judges=())
    assert {pair.verified for pair in made.kept} == {"rule", "no"}
    assert {pair.judges for pair in made.kept} == {()}
    assert {pair.flip_rate for pair in made.kept} == {None}
    assert made.summary["judge"] == "rules"
    assert made.summary["judges"]["flip_rate"] is None
    assert {line.judge for line in made.lines} == {"rules"}


def test_two_judges_who_are_of_one_mind_or_not_show_in_the_figures(build):
    class Divided(JudgePlayer):
        def __call__(self, body):
            self.careless = body["model"] == "other"
            return super().__call__(body)

    of_one_mind = build(JudgePlayer(), SAMPLED, judges=("one", "two"), name="alike")
    agreement = of_one_mind.summary["judges"]["agreement"]
    assert agreement["verdicts_raw"]["value"] == agreement["verdicts_alpha"]["value"] == 1.0
    assert agreement["scores_alpha"]["value"] == agreement["verdicts_kappa"]["value"] == 1.0
    divided = build(
        Divided(),
        SAMPLED.model_copy(update={"judges": JudgeSettings(seed=1)}),
        judges=("one", "two"),
    )
    figures = divided.summary["judges"]
    assert figures["agreement"]["verdicts_raw"]["value"] == 0.0
    assert figures["flip_rate"]["value"] == 0.5
    assert figures["by_judge"]["two"]["flip_rate"]["value"] == 1.0
    assert {(p.agreement, p.flip_rate) for p in divided.kept} == {(0.5, 0.5)}


def test_judges_who_prefer_the_other_answer_leave_no_pair(build):
    class Contrary(JudgePlayer):
        def _choose(self, text, language):
            better = super()._choose(text, language)["better"]
            return {"reason": "", "better": "first" if better == "second" else "second"}

    made = build(Contrary(), SAMPLED)
    assert {row.fault for row in made.failed} == {"judges_disagree"}


def test_the_report_can_work_the_figures_out_again_from_the_file(build):
    settings = TYPED.model_copy(update={"methods": ("sampled", "typed_error"), "samples": 1})
    made = build(JudgePlayer(), settings, judges=("one", "two"))
    assert judge_figures(made.lines) == made.summary["judges"]
    kinds = {(line.kind, line.order) for line in made.lines}
    assert kinds == {
        ("grade", ""),
        ("comparison", "candidate_first"),
        ("comparison", "against_first"),
    }
    assert {line.judge for line in made.lines} == {"rules", "one", "two"}


def test_on_policy_takes_every_candidate_from_the_model(build):
    texts = iter([*(f"{POOR['en']} {n}" for n in range(99))])

    class Policy(JudgePlayer):
        def __call__(self, body):
            if "response_format" in body or len(body["messages"]) == 1:
                return super().__call__(body)
            return next(texts)

    settings = SAMPLED.model_copy(update={"methods": ("on_policy",), "samples": 3})
    made = build(Policy(), settings)
    raw = [json.loads(row.raw) for row in made.failed]
    assert made.counts["rows_in"] == 4
    for row in raw:
        assert len(row["candidates"]) == 3
        assert not set(row["candidates"]) & set(GOOD)


def test_on_policy_from_two_models_is_refused_with_their_names(build):
    settings = SAMPLED.model_copy(update={"methods": ("on_policy",)})
    with pytest.raises(ConfigurationError, match=r"2 endpoints \(one, two\)"):
        build(JudgePlayer(), settings, roles=[("doctor", ("one", "two"))])


def test_pairs_are_brought_into_balance_of_length_and_the_rest_is_quarantined(build):
    settings = TYPED.model_copy(update={"turns_per_conversation": 99})
    free = build(JudgePlayer(), settings, name="free")
    shorter = sum(pair.length_difference < 0 for pair in free.kept)
    longer = sum(pair.length_difference > 0 for pair in free.kept)
    few, many = sorted((shorter, longer))
    assert many > few > 0
    made = build(JudgePlayer(), settings.model_copy(update={"max_length_bias": 0.5}))
    apart = [pair.length_difference for pair in made.kept]
    assert sum(d > 0 for d in apart) == sum(d < 0 for d in apart) == few
    assert made.summary["chosen_longer"]["value"] == 0.5
    assert made.summary["failed"]["length_balance"] == many - few
    assert made.counts["rows_in"] == free.counts["rows_in"] == len(made.kept) + len(made.failed)


def test_a_second_build_buys_nothing_and_writes_the_same_bytes(build, tmp_path):
    settings = TYPED.model_copy(update={"methods": ("sampled", "typed_error")})
    first = build(JudgePlayer(), settings, name="first")
    second = build(JudgePlayer(), settings, name="second")
    assert (first.requests > 0, second.requests) == (True, 0)
    for name in ("preferences.jsonl", "failed.jsonl", "judgements.jsonl"):
        one, other = (tmp_path / place / "out" / name for place in ("first", "second"))
        assert one.read_bytes() == other.read_bytes()


KILLED = """
import sys
from pathlib import Path
from tests.datagen.test_pairing import build_to
build_to(Path(sys.argv[1]), sys.argv[2])
"""
BOTH = TYPED.model_copy(update={"methods": ("sampled", "typed_error"), "samples": 2})


def build_to(home, base_url):
    write_talks(home / "talks", some_cases(1))
    for name in ("out", "state"):
        (home / name).mkdir(exist_ok=True)
    place = Workspace(home / "out", home / "state", {"conversations": home / "talks"}, silent)
    judge = endpoint(base_url, max_in_flight=1)
    access = judged_by(base_url, home / "journal.sqlite", judge)
    access = access.model_copy(update={"endpoint": endpoint(base_url, "fake", max_in_flight=1)})
    return build_preferences(BOTH, access, place)


def test_the_same_command_after_a_kill_buys_nothing_twice_but_what_was_in_flight(tmp_path):
    player, killed = JudgePlayer(), []

    def reply(body):
        if len(server.requests) == 30 and not killed:
            killed.append(True)
            os.kill(child.pid, signal.SIGKILL)
        return player(body)

    with FakeLLM(reply) as server:
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), server.base_url])
        assert child.wait(60) == -signal.SIGKILL
        before = len(server.requests)
        built = build_to(tmp_path, server.base_url)
        bodies = [json.dumps(seen.body, sort_keys=True) for seen in server.requests]
    assert 0 < before < len(bodies)
    # One slot for each of the two endpoints was in flight.
    assert len(bodies) - len(set(bodies)) <= 2
    assert built.counts["rows_in"] == 2 * 3 * 2


def test_who_judges_follows_the_role_and_the_setting(tmp_path):
    named = judged_by("http://127.0.0.1:9/v1", tmp_path / "j")
    bare = named.model_copy(update={"roles": {}})
    assert judge_mode(PreferenceSettings(), bare) == "rules"
    assert judge_mode(PreferenceSettings(), named) == "both"
    assert judge_mode(PreferenceSettings(judge="rules"), named) == "rules"
    assert judge_mode(PreferenceSettings(judge="llm"), bare) == "llm"
    assert preference_roles(PreferenceSettings(), bare) == ("doctor", "teacher")
    assert preference_roles(PreferenceSettings(), named) == ("doctor", "teacher", "judge")
    mute = endpoint("http://127.0.0.1:9/v1", style="transcript")
    with pytest.raises(ConfigurationError, match="must be able to chat"):
        judge_mode(PreferenceSettings(), judged_by("http://127.0.0.1:9/v1", tmp_path / "j", mute))


def test_the_key_follows_the_judge_and_the_rubric(tmp_path):
    url = "http://127.0.0.1:9/v1"
    settings = PreferenceSettings()
    one = preferences_key(settings, judged_by(url, tmp_path / "j"))
    other = preferences_key(settings, judged_by(url, tmp_path / "j", endpoint(url, revision="2")))
    assert keyed_settings(one) != keyed_settings(other)
    assert {"judging/zh/grade", "judging/rubric doctor_turn"} <= set(one.prompts)
    own = tmp_path / "mine.yaml"
    text = (FOLDER / "single_answer.yaml").read_text(encoding="utf-8")
    named = settings.model_copy(update={"rubric": str(own)})
    keys = []
    for version in ("version: 1", "version: 2"):
        own.write_text(text.replace("version: 1", version), encoding="utf-8")
        keys.append(keyed_settings(preferences_key(named, judged_by(url, tmp_path / "j"))))
    assert keys[0] != keys[1]


@pytest.mark.parametrize("judge", ["llm", "both"])
def test_models_alone_or_with_rules_score_and_the_lines_say_who(build, judge):
    made = build(JudgePlayer(), SAMPLED.model_copy(update={"judge": judge}))
    assert made.counts["accepted"] == 4
    judges = {line.judge for line in made.lines if line.kind == "grade"}
    assert judges == ({"judge"} if judge == "llm" else {"judge", "rules"})
    assert made.summary["judge"] == judge
