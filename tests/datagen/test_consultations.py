import asyncio
import os
import signal
import subprocess
import sys

import pytest

from artifacts.progress import Progress
from artifacts.step import Workspace, keyed_settings
from datagen.cases import read_case
from datagen.consultations import (
    GenerateSettings,
    build_conversations,
    choose_cases,
    conversation_roles,
    conversations_key,
    talks_per_case,
)
from datagen.conversation_checks import TalkCheckSettings
from datagen.errors import DamagedInput, NothingToGenerate
from datagen.files import read_cases, read_conversations
from datagen.pairing import build_preferences, preferences_key
from datagen.preferences import PreferenceSettings
from datagen.production import LEAST_AHEAD, run_in_order
from datagen.simulation import TalkSettings
from endpoints.errors import BudgetExceeded
from endpoints.pool import Share
from endpoints.prices import Prices
from tests.datagen.conftest import HELLO, LIBRARY, ScriptPlayer
from tests.fake_llm import FakeLLM
from tests.structured_replies import asked_shape
from validation.schemas import Conversation

SMALL = GenerateSettings(
    cases_per_language=3, conversations_per_case=2, talk=TalkSettings(doctor_turns=3)
)
# Without what a talk may take more or less of.
PLAIN = SMALL.model_copy(update={"talk": TalkSettings(doctor_turns=3, critic=False, repairs=0)})
FILES = ("cases.jsonl", "conversations.jsonl", "failed.jsonl", "scripted.jsonl")


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("style", ["chat", "transcript"])
def test_the_step_writes_every_talk_in_order_and_counts_them(access, workspace, style):
    place = workspace()
    with FakeLLM(ScriptPlayer()) as server:
        built = build_conversations(SMALL, access(server.base_url, style), place)
    talks = list(read_conversations(place.out))
    order = [(t.case_id, t.sample_index) for t in talks]
    assert order == sorted(order)
    assert built.counts == {"rows_in": 12, "accepted": 12, "quarantined": 0}
    assert built.summary["languages"] == {"en": 6, "zh": 6}
    assert set(read_cases(place.out)) == {t.case_id for t in talks}
    assert len(lines(place.out / "scripted.jsonl")) == 6
    assert (place.out / "failed.jsonl").read_text() == ""


@pytest.mark.parametrize(("turns", "found"), [(2, set()), (40, {"too_short"})])
def test_the_scripted_control_goes_through_the_same_checks(access, workspace, turns, found):
    place = workspace()
    checks = TalkCheckSettings(min_doctor_turns=turns)
    settings = SMALL.model_copy(update={"checks": checks})
    with FakeLLM(ScriptPlayer()) as server:
        build_conversations(settings, access(server.base_url), place)
    control = [Conversation.model_validate_json(t) for t in lines(place.out / "scripted.jsonl")]
    assert [{fault.name for fault in talk.faults} for talk in control] == [found] * 6


def test_a_second_build_buys_nothing_and_writes_the_same_bytes(access, workspace):
    with FakeLLM(ScriptPlayer()) as server:
        first, second = workspace("first"), workspace("second")
        build_conversations(SMALL, access(server.base_url), first)
        bought = len(server.requests)
        built = build_conversations(SMALL, access(server.base_url), second)
        assert len(server.requests) == bought
    assert built.summary["from_journal"] == built.summary["calls"] == bought
    for name in FILES:
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()


def test_a_talk_that_cannot_be_made_is_kept_with_its_fault(access, workspace):
    place = workspace()
    with FakeLLM(ScriptPlayer(), faults=["refused"]) as server:
        built = build_conversations(SMALL, access(server.base_url), place)
    assert built.counts == {"rows_in": 12, "accepted": 11, "quarantined": 1}
    assert built.summary["failed"] == {"endpoint_refused": 1}
    assert len(lines(place.out / "failed.jsonl")) == 1


def test_the_cap_ends_the_run_and_what_was_bought_is_used_by_the_next(access, workspace):
    prices = Prices(
        input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=1.0, as_of="2026-11-01"
    )
    with FakeLLM(ScriptPlayer()) as server:
        rich = access(server.base_url, free=False, prices=prices, max_in_flight=1)
        poor = rich.model_copy(update={"budget_usd": 0.01})
        with pytest.raises(BudgetExceeded):
            build_conversations(SMALL, poor, workspace())
        bought = len(server.requests)
        built = build_conversations(SMALL, rich, workspace())
        assert 0 < bought < built.summary["calls"] == len(server.requests)
    assert 0 < built.summary["spent_usd"] < built.cost_usd


def test_the_meter_and_the_progress_follow_the_talks(access, workspace):
    seen: list[Progress] = []
    place = workspace()
    watched = Workspace(place.out, place.state, place.inputs, seen.append)
    with FakeLLM(ScriptPlayer()) as server:
        built = build_conversations(SMALL, access(server.base_url), watched)
    assert seen[-1].done == seen[-1].total == 12
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert built.summary["calls"] == len(server.requests)
    assert built.summary["prompt_tokens"] > 0


KILLED = """
import sys
from pathlib import Path
from tests.datagen.test_consultations import SMALL, build_to
build_to(Path(sys.argv[1]), sys.argv[2])
"""


def build_to(home, base_url):
    from artifacts.progress import silent
    from datagen.access import LlmAccess
    from endpoints.settings import EndpointSettings

    (home / "out").mkdir(parents=True, exist_ok=True)
    endpoint = EndpointSettings(name="fake", model="fake", free=True, base_url=base_url)
    access = LlmAccess(endpoint=endpoint, journal=home / "journal.sqlite")
    return build_conversations(SMALL, access, Workspace(home / "out", home, {}, silent))


def test_a_killed_build_goes_on_and_buys_at_most_what_was_in_flight_again(tmp_path):
    player, killed = ScriptPlayer(), []

    def reply(body):
        if len(server.requests) == 25 and not killed:
            killed.append(True)
            os.kill(child.pid, signal.SIGKILL)
        return player(body)

    with FakeLLM(reply, slots=4) as server:
        command = [sys.executable, "-c", KILLED, str(tmp_path), server.base_url]
        child = subprocess.Popen(command)
        assert child.wait(60) == -signal.SIGKILL
        before = len(server.requests)
        built = build_to(tmp_path, server.base_url)
        after = len(server.requests) - before
    kept = built.summary["calls"] - after
    assert built.summary["from_journal"] == kept > 0
    # One talk has at most one request in flight.
    assert before + after <= built.summary["calls"] + 12
    assert built.counts["accepted"] == 12


def test_pairs_are_made_from_the_artifact_of_conversations(access, workspace):
    talks = workspace("talks")
    pairs = workspace("pairs", conversations=talks.out)
    with FakeLLM(ScriptPlayer()) as server:
        asked = access(server.base_url)
        build_conversations(SMALL, asked, talks)
        built = build_preferences(PreferenceSettings(turns_per_conversation=1), asked, pairs)
    rows = lines(pairs.out / "preferences.jsonl") + lines(pairs.out / "failed.jsonl")
    assert len(rows) == built.counts["rows_in"] == 24
    assert built.counts["accepted"] + built.counts["quarantined"] == 24
    assert built.counts["accepted"] > 0
    assert sum(built.summary["fault_types"].values()) == built.counts["accepted"]


def test_an_artifact_without_its_files_is_named(access, workspace, tmp_path):
    place = workspace("pairs", conversations=tmp_path)
    with pytest.raises(DamagedInput, match=r"cases\.jsonl is absent"):
        build_preferences(PreferenceSettings(), access("http://127.0.0.1:9/v1"), place)


def test_a_talk_of_a_case_that_the_artifact_lacks_is_named(access, workspace):
    talks = workspace("talks")
    with FakeLLM(ScriptPlayer()) as server:
        build_conversations(SMALL, access(server.base_url), talks)
    cases = (talks.out / "cases.jsonl").read_text().splitlines(keepends=True)
    (talks.out / "cases.jsonl").write_text("".join(cases[1:]))
    with pytest.raises(DamagedInput, match="lacks the case 'en-"):
        build_preferences(
            PreferenceSettings(),
            access("http://127.0.0.1:9/v1"),
            workspace("pairs", conversations=talks.out),
        )


def test_talks_from_which_no_pair_is_tried_are_counted(access, workspace):
    talks = workspace("talks")
    pairs = workspace("pairs", conversations=talks.out)
    settings = PreferenceSettings(turns_per_conversation=1)
    with FakeLLM(ScriptPlayer()) as server:
        build_conversations(SMALL, access(server.base_url), talks)
        english = access(server.base_url, languages=("en",))
        built = build_preferences(settings, english, pairs)
    assert (built.summary["conversations"], built.summary["without_pair_tried"]) == (12, 6)


def test_a_language_that_the_endpoint_cannot_talk_in_is_left_out(access, workspace):
    place = workspace()
    with FakeLLM(ScriptPlayer()) as server:
        build_conversations(SMALL, access(server.base_url, languages=("en",)), place)
    assert {t.language for t in read_conversations(place.out)} == {"en"}


def test_settings_that_leave_no_language_say_what_to_change(access):
    settings = GenerateSettings(languages=("zh",))
    with pytest.raises(NothingToGenerate, match=r"generate\.languages"):
        conversations_key(settings, access("http://127.0.0.1:9/v1", languages=("en",)))


def test_the_key_follows_model_prompts_and_cases_but_not_address_or_price(access):
    key = conversations_key(SMALL, access("http://127.0.0.1:9/v1"))
    same = conversations_key(SMALL, access("http://127.0.0.1:8/v1", max_in_flight=3))
    other = conversations_key(SMALL, access("http://127.0.0.1:9/v1", revision="2"))
    assert keyed_settings(key) == keyed_settings(same) != keyed_settings(other)
    assert set(key.cases) == {case.case_id for case in LIBRARY}
    assert "en/chat/doctor" in key.prompts
    pairs = preferences_key(PreferenceSettings(), access("http://127.0.0.1:9/v1"))
    assert "clinical_errors.yaml" in pairs.prompts


def test_the_cases_of_a_language_are_drawn_by_the_seed():
    chosen = choose_cases(LIBRARY, SMALL)
    assert [c.case_id for c in chosen] == sorted(c.case_id for c in chosen)
    assert [c.language for c in chosen].count("zh") == 3
    assert choose_cases(tuple(reversed(LIBRARY)), SMALL) == chosen
    seeded = SMALL.model_copy(update={"talk": TalkSettings(seed=5)})
    assert choose_cases(LIBRARY, seeded) != chosen


def test_faults_are_stored_on_the_talks_and_counted_by_name(access, workspace):
    place = workspace()
    strict = SMALL.model_copy(update={"checks": TalkCheckSettings(must_ask_coverage=1.0)})
    with FakeLLM(ScriptPlayer()) as server:
        built = build_conversations(strict, access(server.base_url), place)
    stored = [t for t in read_conversations(place.out) if t.faults]
    assert built.summary["without_faults"] == 12 - len(stored)
    assert built.summary["faults"]["must_ask_missed"] == len(stored) > 0


def test_a_library_of_ones_own_is_read_from_its_folder(access, workspace, tmp_path):
    folder = tmp_path / "cases" / "en"
    folder.mkdir(parents=True)
    for case in LIBRARY[:2]:
        (folder / f"{case.case_id}.yaml").write_text(case.model_dump_json())
        assert read_case(folder / f"{case.case_id}.yaml") == case
    settings = SMALL.model_copy(update={"library": tmp_path / "cases"})
    key = conversations_key(settings, access("http://127.0.0.1:9/v1"))
    assert len(key.cases) == 2


def test_no_more_than_so_many_run_at_once_and_results_keep_their_order():
    running, most = 0, 0

    async def work(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return item * 2

    kept = []
    asyncio.run(run_in_order(work, range(50), 7, kept.append))
    assert kept == [2 * i for i in range(50)]
    assert most == 7


def test_results_are_kept_as_they_come_and_wait_only_for_earlier_ones():
    begun, kept = [], []
    slow = asyncio.Event()

    async def work(item):
        begun.append(item)
        if item == 0:
            await slow.wait()
        if item == 200:
            slow.set()
        await asyncio.sleep(0)
        return item

    asyncio.run(run_in_order(work, iter(range(1000)), 4, kept.append))
    assert kept == list(range(1000))


def test_no_more_results_wait_for_a_slow_item_than_memory_may_hold():
    begun, kept = [], []
    slow = asyncio.Event()

    async def work(item):
        begun.append(item)
        if item == 0:
            await slow.wait()
        return item

    async def run():
        task = asyncio.create_task(run_in_order(work, iter(range(9000)), 4, kept.append))
        for _ in range(2000):
            await asyncio.sleep(0)
        waiting = len(begun)
        slow.set()
        await task
        return waiting

    assert asyncio.run(run()) <= LEAST_AHEAD + 4
    assert kept == list(range(9000))


def test_the_first_error_stops_the_others():
    begun = []

    async def work(item):
        begun.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise BudgetExceeded("the cap")
        return item

    with pytest.raises(BudgetExceeded):
        asyncio.run(run_in_order(work, range(1000), 4, lambda result: None))
    assert len(begun) < 20


def test_rows_are_spread_over_the_cases_and_one_more_changes_no_other():
    cases = choose_cases(LIBRARY, GenerateSettings())
    few = talks_per_case(cases, GenerateSettings(rows=6))
    assert sum(few.values()) == 6
    drawn = {case_id for case_id, number in few.items() if number}
    assert {case_id[:2] for case_id in drawn} == {"en", "zh"}
    many = talks_per_case(cases, GenerateSettings(rows=len(cases) + 6))
    assert many == {case_id: number + 1 for case_id, number in few.items()}
    one_more = talks_per_case(cases, GenerateSettings(rows=len(cases) + 7))
    assert sum(one_more[i] - many[i] for i in many) == 1
    assert all(one_more[i] >= many[i] for i in many)


def test_one_more_row_buys_exactly_its_own_requests(access, workspace):
    with FakeLLM(ScriptPlayer()) as server:
        first = workspace("first")
        build_conversations(PLAIN.model_copy(update={"rows": 5}), access(server.base_url), first)
        before = len(server.requests)
        more = workspace("more")
        built = build_conversations(
            PLAIN.model_copy(update={"rows": 6}), access(server.base_url), more
        )
        bought = len(server.requests) - before
    old = (first.out / "conversations.jsonl").read_text().splitlines()
    new = (more.out / "conversations.jsonl").read_text().splitlines()
    assert len(new) == 6
    assert set(old) < set(new)
    assert bought == built.summary["calls"] - built.summary["from_journal"] > 0
    (added,) = set(new) - set(old)
    assert bought <= len(Conversation.model_validate_json(added).messages)


def test_a_run_that_meets_its_cap_says_what_the_rest_would_cost(access, workspace):
    prices = Prices(
        input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=1.0, as_of="2026-11-01"
    )
    with FakeLLM(ScriptPlayer()) as server:
        rich = access(server.base_url, free=False, prices=prices, max_in_flight=1)
        poor = rich.model_copy(update={"budget_usd": 0.02})
        with pytest.raises(BudgetExceeded, match=r"of 12 rows are finished.*would cost about") as c:
            build_conversations(PLAIN, poor, workspace())
        built = build_conversations(PLAIN, rich, workspace())
    # Talks differ in length, and a talk that was begun is counted with those that are done.
    rest = c.value.remaining_usd_estimate
    assert rest == pytest.approx(built.cost_usd - c.value.spent_usd, rel=0.6)


def test_a_step_may_ask_by_batches_and_makes_the_same_talks(access, workspace):
    live, batched = workspace("live"), workspace("batched")
    quick = {"poll_seconds": 0.01, "quiet_seconds": 0.05}
    with FakeLLM(ScriptPlayer()) as server:
        build_conversations(SMALL, access(server.base_url), live)
        asked = access(server.base_url, batch=quick, max_in_flight=1)
        asked = asked.model_copy(
            update={"journal": batched.out / "../other.sqlite", "transport": "batch"}
        )
        before = len(server.requests)
        built = build_conversations(SMALL, asked, batched)
        assert len(server.requests) == before  # all went as lines of files
        # All talks go side by side: a batch a turn, not a batch a request.
        assert 4 <= len(server.batches.batches) <= 12
    assert built.summary["made"] == 12
    for name in FILES:
        assert (live.out / name).read_bytes() == (batched.out / name).read_bytes()


@pytest.mark.parametrize(("side", "rows"), [("doctor", 0), ("patient", 12), ("both", 12)])
def test_the_patients_side_stands_in_a_file_of_its_own(access, workspace, side, rows):
    place = workspace()
    settings = SMALL.model_copy(update={"side": side})
    with FakeLLM(ScriptPlayer()) as server:
        built = build_conversations(settings, access(server.base_url), place)
    path = place.out / "patient_side.jsonl"
    assert path.exists() is (side != "doctor")
    swapped = [Conversation.model_validate_json(t) for t in lines(path)] if rows else []
    assert len(swapped) == rows
    assert {talk.side for talk in swapped} <= {"patient"}
    talks = list(read_conversations(place.out))
    assert {talk.side for talk in talks} == {"doctor"}
    assert built.counts == {"rows_in": 12, "accepted": 12, "quarantined": 0}


def test_the_roles_that_are_asked_follow_the_settings_and_the_style(access):
    chat, plain = access("http://127.0.0.1:9/v1"), access("http://127.0.0.1:9/v1", "transcript")
    assert conversation_roles(SMALL, chat) == ("doctor", "patient", "examiner", "critic")
    assert conversation_roles(SMALL, plain) == ("doctor", "patient")
    planned = SMALL.model_copy(
        update={"talk": TalkSettings(method="plan_play_polish", critic=False, examiner="off")}
    )
    assert conversation_roles(planned, chat) == ("doctor", "patient", "teacher")
    critical = SMALL.model_copy(update={"talk": TalkSettings(critic=True)})
    key = conversations_key(critical, plain)
    assert "en/chat/critic" in key.prompts
    assert "talk_cues.yaml" in key.prompts


def test_critic_and_examiner_may_have_endpoints_of_their_own(access, workspace):
    with FakeLLM(ScriptPlayer()) as players, FakeLLM(ScriptPlayer()) as critics:
        asked = access(players.base_url)
        other = asked.endpoint.model_copy(update={"name": "big", "base_url": critics.base_url})
        asked = asked.model_copy(update={"roles": {"critic": (Share(endpoint=other),)}})
        build_conversations(SMALL, asked, workspace())
        shapes = {bool(asked_shape(r.body)) for r in players.requests}
        assert shapes == {False}
        assert {asked_shape(r.body) for r in critics.requests} == {frozenset({"remarks", "score"})}


def test_each_role_asks_its_own_endpoint_and_the_record_names_the_models(access, workspace):
    place = workspace()
    with FakeLLM(ScriptPlayer(), models=("fake", "other")) as server:
        asked = access(server.base_url)
        other = asked.endpoint.model_copy(update={"name": "second", "model": "other"})
        asked = asked.model_copy(update={"roles": {"patient": (Share(endpoint=other),)}})
        built = build_conversations(SMALL, asked, place)
        spoke = {"fake": 0, "other": 0}
        for seen in server.requests:
            contents = [message["content"] for message in seen.body["messages"][1:2]]
            patient = bool(contents) and contents[0] in HELLO.values()
            assert (seen.body["model"] == "other") == patient
            spoke[seen.body["model"]] += 1
    assert all(spoke.values())
    by_role = built.summary["by_role"]
    assert by_role["patient"]["calls"] == spoke["other"]
    for talk in read_conversations(place.out):
        assert talk.source.split()[1:] == ["other", "fake"]
