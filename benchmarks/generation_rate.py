"""How close generation comes to the ideal rate of an endpoint, slots always full.

`python -m benchmarks.generation_rate`: 512 conversations of 6 calls against a fake server (in
a process of its own) with 256 slots and 1 s latency, through the real simulator with journal
and a capped budget. In the same run, as the peer, a bare loop on `openai` sends the very same
requests in as many loops of 6, with no journal, budget or simulator. `--quick`: once
instead of three times.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
from pydantic import JsonValue

from artifacts.step import Workspace
from benchmarks.measurement import Measurement, parse_quick, report
from datagen.access import LlmAccess
from datagen.consultations import GenerateSettings, build_conversations
from datagen.simulation import TalkSettings
from endpoints.journal import Journal
from endpoints.request import ChatRequest
from endpoints.settings import EndpointSettings, Prices
from endpoints.wire import payload

TARGET_SHARE = 0.9
SLOTS = 256
# Every talk may be in flight, for the peer too: the queue stands at the server, which has the
# next request at hand when a slot becomes free.
IN_FLIGHT = 512
TALKS = 512
LATENCY_SECONDS = 1.0
# A generated opening, then three answers of the doctor with two of the patient between them.
DOCTOR_TURNS = 3
CALLS_PER_TALK = 6
LANGUAGES = 2
CASES_PER_LANGUAGE = 16
CAP_USD = 1000.0
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Pass:
    """One way through all calls; the CPU is that of the client's process and of the server's."""

    share: float
    wall_seconds: float
    client_cpu_ms_per_call: float
    server_cpu_ms_per_call: float

    def told(self) -> dict[str, JsonValue]:
        """As the report shows it."""
        return {
            "share_of_ideal": round(self.share, 4),
            "wall_seconds": round(self.wall_seconds, 2),
            "client_cpu_ms_per_call": round(self.client_cpu_ms_per_call, 2),
            "server_cpu_ms_per_call": round(self.server_cpu_ms_per_call, 2),
        }


@contextmanager
def fake_server() -> Iterator[tuple[str, psutil.Process]]:
    """The fake server's URL and process."""
    arguments = ["--latency-seconds", str(LATENCY_SECONDS), "--slots", str(SLOTS)]
    command = [sys.executable, "-m", "tests.fake_llm", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.terminate()


def timed(calls: int, server: psutil.Process, work: Callable[[], None]) -> Pass:
    """Do the work of so many calls, and relate it to slots that are always full."""
    server_before, client_before = _cpu_seconds(server), time.process_time()
    started = time.monotonic()
    work()
    wall_seconds = time.monotonic() - started
    client_seconds = time.process_time() - client_before
    server_seconds = _cpu_seconds(server) - server_before
    return Pass(
        share=calls / SLOTS * LATENCY_SECONDS / wall_seconds,
        wall_seconds=wall_seconds,
        client_cpu_ms_per_call=1000 * client_seconds / calls,
        server_cpu_ms_per_call=1000 * server_seconds / calls,
    )


def generate(url: str, folder: Path, talks: int) -> None:
    """The step that makes conversations, from its settings to its files."""
    prices = Prices(
        input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=2.0, as_of=date(2026, 11, 1)
    )
    endpoint = EndpointSettings(
        name="fake", base_url=url, model="fake", prices=prices, max_in_flight=IN_FLIGHT
    )
    settings = GenerateSettings(
        cases_per_language=CASES_PER_LANGUAGE,
        conversations_per_case=talks // (LANGUAGES * CASES_PER_LANGUAGE),
        talk=TalkSettings(
            doctor_turns=DOCTOR_TURNS, min_doctor_turns=DOCTOR_TURNS, opening="generated"
        ),
        style="chat",
    )
    for name in ("out", "state"):
        (folder / name).mkdir()
    workspace = Workspace(folder / "out", folder / "state", {}, lambda progress: None)
    access = LlmAccess(endpoint=endpoint, journal=folder / "journal.sqlite", budget_usd=CAP_USD)
    built = build_conversations(settings, access, workspace)
    done = (built.summary["made"], built.summary["calls"], built.summary["from_journal"])
    if done != (talks, CALLS_PER_TALK * talks, 0):
        raise RuntimeError(f"expected {talks} talks of {CALLS_PER_TALK} calls, got {built.summary}")


def bought_bodies(folder: Path, url: str) -> list[dict[str, Any]]:
    """The bodies of all requests that `generate` sent."""
    endpoint = EndpointSettings(name="fake", base_url=url, model="fake", free=True)
    with Journal(folder / "journal.sqlite") as journal:
        rows = journal.read("SELECT request FROM completions ORDER BY digest")
    return [payload(ChatRequest.model_validate(_fields(row)), endpoint)[1] for (row,) in rows]


def send_bare(url: str, bodies: list[dict[str, Any]]) -> None:
    """The peer: `openai` alone; as many talks, of as many calls after one another."""
    import openai

    async def run() -> None:
        pool = openai.DefaultAioHttpClient()
        at_once = asyncio.Semaphore(IN_FLIGHT)
        async with openai.AsyncOpenAI(api_key="none", base_url=url, http_client=pool) as client:

            async def talk(calls: list[dict[str, Any]]) -> None:
                for body in calls:
                    async with at_once:
                        answer = await client.chat.completions.create(**body)
                    if not answer.choices[0].message.content:
                        raise RuntimeError("the fake server gave an empty answer")

            starts = range(0, len(bodies), CALLS_PER_TALK)
            await asyncio.gather(*(talk(bodies[i : i + CALLS_PER_TALK]) for i in starts))

    asyncio.run(run())


def side_by_side(talks: int) -> tuple[Pass, Pass]:
    """Ours, then the peer with the requests that ours has made, on one server."""
    calls = talks * CALLS_PER_TALK
    with tempfile.TemporaryDirectory() as name, fake_server() as (url, server):
        folder = Path(name)
        ours = timed(calls, server, lambda: generate(url, folder, talks))
        bodies = bought_bodies(folder, url)
        bare = timed(calls, server, lambda: send_bare(url, bodies))
    return ours, bare


def measure(quick: bool) -> Measurement:
    """Both ways in turn, so often; the figure is the median of ours."""
    import openai  # noqa: F401  # a second of the process's start, not of the rate

    times = 1 if quick else 3
    calls = TALKS * CALLS_PER_TALK
    loads: list[JsonValue] = [_load_averages()]
    ours, bare = [], []
    for _ in range(times):
        mine, peer = side_by_side(TALKS)
        ours.append(mine)
        bare.append(peer)
        loads.append(_load_averages())
        print(f"ours        {mine.told()}\nbare openai {peer.told()}\nload {loads[-1]}", flush=True)
    share = statistics.median(one.share for one in ours)
    bare_share = statistics.median(one.share for one in bare)
    print(f"of the ideal: ours {share:.3f}, bare openai {bare_share:.3f}")
    print(f"ours to bare openai: {share / bare_share:.2f} times its rate")
    return Measurement(
        name="generation_rate",
        figure=round(share, 4),
        unit="of the ideal rate",
        target=f">= {TARGET_SHARE}",
        holds=share >= TARGET_SHARE,
        measured={
            "conversations": TALKS,
            "calls": calls,
            "slots": SLOTS,
            "in_flight": IN_FLIGHT,
            "latency_seconds": LATENCY_SECONDS,
            "ideal_seconds": calls / SLOTS * LATENCY_SECONDS,
            "ours": [one.told() for one in ours],
            "bare_openai": [one.told() for one in bare],
            "bare_openai_share": round(bare_share, 4),
            "ratio_ours_to_bare_openai": round(share / bare_share, 3),
            "load_averages_before_and_after_each": loads,
        },
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _load_averages() -> JsonValue:
    return [round(load, 2) for load in os.getloadavg()]


def _fields(canonical: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(canonical)
    return fields


if __name__ == "__main__":
    quick = parse_quick(__doc__)
    report(measure(quick), quick)
