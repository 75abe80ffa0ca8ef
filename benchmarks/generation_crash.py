"""What a kill costs, and what a change buys: nothing twice, nothing lost, nothing unchanged.

`python -m benchmarks.generation_crash`: a process that makes talks is killed (SIGKILL) at a
random instant, twenty times, each time with a new journal; the same command then makes the rest,
and its files are compared byte by byte with those of a run that was left alone. Then 512 talks
of 512 cases are made, and again with one case changed, one prompt file changed, and one row
more: only requests of which the text is new may be bought. `--quick`: four kills, 64 cases.

A request that is under way when the process dies is sent again: its answer reached nobody who
could keep it. How many these were, and how many of them the server had answered in the very
moment before, is told beside the figure.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from artifacts.digest import digest_json
from benchmarks.generation_peers import sent_bodies
from benchmarks.measurement import Measurement, parse_quick, report
from benchmarks.talks import ROOT, Work
from datagen.cases import LIBRARY
from datagen.files import CONVERSATIONS
from tests.fake_llm import Body, FakeLLM, default_reply

KILLS, QUICK_KILLS = 20, 4
TALKS = 64
CALLS = 6
IN_FLIGHT = 32
LATENCY_SECONDS = 0.2
CASES, QUICK_CASES = 512, 64
NEW_FACT = " Moved house last spring."
NEW_RULE = "\n- Be brief.\n"
WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Kill:
    """What one kill, and the same command after it, came to.

    `answered_twice`: requests under way that the server had answered when the process died.
    """

    stored: int
    under_way: int
    bought_again: int
    answered_twice: int
    lost: int
    duplicated: int

    @property
    def harmless(self) -> bool:
        """Nothing that was stored was bought again, and every talk is there once."""
        return not (self.bought_again or self.lost or self.duplicated)


def kill_once(folder: Path, whole: bytes, at_share: float) -> Kill:
    """Kill a run at that share of its time, and run the same command again."""
    counted: Counter[str] = Counter()
    with FakeLLM(_counting(counted), LATENCY_SECONDS) as server:
        work = Work(server.base_url, str(folder), TALKS, CALLS, IN_FLIGHT)
        with work.start() as process:
            deadline = time.monotonic() + WAIT_SECONDS
            while not server.requests and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(at_share * TALKS * CALLS / IN_FLIGHT * LATENCY_SECONDS)
            process.kill()
        sent = {digest_json(body) for body in _bodies(server)}
        stored = {digest_json(body) for body in sent_bodies(folder / "journal.sqlite")}
        before = len(server.requests)
        work.run_apart()
        again = Counter(digest_json(body) for body in _bodies(server)[before:])
    made = (folder / "out" / CONVERSATIONS).read_bytes().splitlines()
    wanted = whole.splitlines()
    return Kill(
        stored=len(stored),
        under_way=len(sent - stored),
        bought_again=len(stored & set(again)) + sum(n - 1 for n in again.values()),
        answered_twice=sum(n - 1 for n in counted.values()),
        lost=len(Counter(wanted) - Counter(made)),
        duplicated=len(Counter(made) - Counter(wanted)),
    )


def kills(number: int) -> list[Kill]:
    """So many kills, each at a random instant of a run with a journal of its own."""
    dice = random.Random(20261124)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with FakeLLM() as server:
            Work(server.base_url, str(folder / "alone"), TALKS, CALLS, IN_FLIGHT).run_apart()
        whole = (folder / "alone" / "out" / CONVERSATIONS).read_bytes()
        done = []
        for index in range(number):
            done.append(kill_once(folder / str(index), whole, dice.random()))
            print(f"kill {index + 1}: {done[-1]}", flush=True)
        return done


@dataclass(frozen=True)
class Change:
    """What a run after a change bought, and what it should have bought."""

    name: str
    bought: int
    expected: int
    again: int

    @property
    def exact(self) -> bool:
        """Whether it bought what it should, and nothing that it had."""
        return self.bought == self.expected and self.again == 0


def changes(cases: int) -> list[Change]:
    """One talk of each of so many cases, and again after each change."""
    with tempfile.TemporaryDirectory() as name, FakeLLM() as server:
        folder = Path(name)
        library = write_library(folder / "library", cases)
        work = Work(
            server.base_url, str(folder / "work"), cases, CALLS, IN_FLIGHT, library=str(library)
        )
        summary = work.run_apart()
        english = int(summary["languages"]["en"])
        done = [_change("nothing changed", server, work.run_apart, 0)]
        _append_to_history(sorted(library.glob("en/*.yaml"))[0])
        done.append(_change("one case changed", server, work.run_apart, CALLS))
        tree = folder / "tree"
        shutil.copytree(ROOT / "datagen", tree / "datagen")
        prompt = tree / "datagen" / "prompts" / "en" / "chat" / "doctor.j2"
        prompt.write_text(prompt.read_text(encoding="utf-8") + NEW_RULE, encoding="utf-8")
        # English talks keep their opening, which the patient says before any doctor speaks.
        done.append(
            _change(
                "one prompt changed", server, lambda: work.run_apart(tree), english * (CALLS - 1)
            )
        )
        more = replace(work, talks=cases + 1)
        done.append(_change("one row more", server, more.run_apart, CALLS))
    for change in done:
        print(change, flush=True)
    return done


def write_library(folder: Path, cases: int) -> Path:
    """So many case files: those which ship, in turn, each under a name of its own."""
    originals = sorted(LIBRARY.glob("*/*.yaml"))
    for number in range(cases):
        original = originals[number % len(originals)]
        text = original.read_text(encoding="utf-8")
        case_id = text.split("case_id:", 1)[1].split("\n", 1)[0].strip()
        copy = folder / original.parent.name / f"{case_id}-{number:05}.yaml"
        copy.parent.mkdir(parents=True, exist_ok=True)
        named = text.replace(f"case_id: {case_id}", f"case_id: {case_id}-{number:05}", 1)
        copy.write_text(named, encoding="utf-8")
    return folder


def _append_to_history(case_file: Path) -> None:
    lines = case_file.read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("history:"))
    lines[place] += NEW_FACT
    case_file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _change(name: str, server: FakeLLM, run: Callable[[], dict[str, Any]], expected: int) -> Change:
    before = _bodies(server)
    run()
    bought = Counter(digest_json(body) for body in _bodies(server)[len(before) :])
    known = {digest_json(body) for body in before}
    again = len(known & set(bought)) + sum(n - 1 for n in bought.values())
    return Change(name, bought.total(), expected, again)


def _counting(counted: Counter[str]) -> Callable[[Body], str]:
    def reply(body: Body) -> str:
        counted[digest_json(body)] += 1
        return str(default_reply(body))

    return reply


def _bodies(server: FakeLLM) -> list[Body]:
    return [seen.body for seen in server.requests if "completions" in seen.path]


def measure(quick: bool) -> Measurement:
    """The kills and the changes; the figure is the number of those that were not harmless."""
    killed = kills(QUICK_KILLS if quick else KILLS)
    changed = changes(QUICK_CASES if quick else CASES)
    figure = sum(not one.harmless for one in killed) + sum(not one.exact for one in changed)
    told: dict[str, JsonValue] = {
        "kills": len(killed),
        "talks": TALKS,
        "calls": CALLS,
        "in_flight": IN_FLIGHT,
        "stored_and_bought_again": sum(one.bought_again for one in killed),
        "talks_lost": sum(one.lost for one in killed),
        "talks_duplicated": sum(one.duplicated for one in killed),
        "under_way_when_killed": [one.under_way for one in killed],
        "of_these_answered_but_not_yet_stored": [one.answered_twice for one in killed],
        "stored_when_killed": [one.stored for one in killed],
        "changes": {
            one.name: {"bought": one.bought, "expected": one.expected, "again": one.again}
            for one in changed
        },
    }
    return Measurement(
        name="generation_crash",
        figure=figure,
        unit="kills or changes that bought what was stored again, or lost or doubled a talk",
        target="0",
        holds=figure == 0,
        measured=told,
    )


if __name__ == "__main__":
    quick = parse_quick(__doc__)
    report(measure(quick), quick)
