"""Conversations a minute beside the ideal of an endpoint, and beside other tools.

`python -m benchmarks.generation_peers`: twice as many talks as slots, of 6 and of 12 calls
after one another, against a fake server (in a process of its own) with 1 s latency and 64, 256
and 1,024 slots. Ours goes through the real simulator with journal and a capped budget. Beside
it, in the same run, on a server of their own each: a loop on `openai` (on aiohttp) that sends
the very same requests with no journal, budget or simulator; bespokelabs-curator and NVIDIA
Data Designer, which make as many calls with the same system prompts; and one talk after
another, of which two are timed and the rest is reckoned. `make peers` installs the two tools
into environments of their own; where they are absent they are left out, and that is said.
`--quick`: 64 slots and 6 calls alone.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from benchmarks.measurement import Measurement, load_averages, report
from benchmarks.talks import ROOT, Work, cpu_seconds, fake_server
from endpoints.journal import Journal
from endpoints.request import ChatRequest
from endpoints.settings import EndpointSettings
from endpoints.wire import payload

LATENCY_SECONDS = 1.0
SLOTS = (64, 256, 1024)
CALLS = (6, 12)
# Every talk may be in flight, for the peers too: the queue stands at the server, which has the
# next request at hand when a slot becomes free.
TALKS_PER_SLOT = 2
# Wall divided by ideal, at most; and our rate to curator's, at least: by number of slots.
MOST_OF_IDEAL = {64: 1.06, 256: 1.06, 1024: 1.2}
LEAST_TO_CURATOR = {256: 1.35, 1024: 2.0}
SEQUENTIAL_TALKS = 2
PEER_SECONDS = 900.0
PEERS = ROOT / ".peers"
SCRIPTS = {"curator": "curator_talks.py", "data_designer": "data_designer_talks.py"}


@dataclass(frozen=True)
class Size:
    """How many slots there are, and how many calls a talk has."""

    slots: int
    calls: int

    @property
    def talks(self) -> int:
        """How many talks are made."""
        return TALKS_PER_SLOT * self.slots

    @property
    def ideal_seconds(self) -> float:
        """With every slot full from the first moment to the last."""
        return self.talks * self.calls / self.slots * LATENCY_SECONDS


@dataclass(frozen=True)
class Pass:
    """One way through a size's talks; CPU is our process's and the server's (None: not known)."""

    name: str
    size: Size
    wall_seconds: float
    client_cpu_ms_per_call: float | None = None
    server_cpu_ms_per_call: float | None = None
    note: str = ""

    @property
    def to_ideal(self) -> float:
        """Wall divided by ideal."""
        return self.wall_seconds / self.size.ideal_seconds

    def told(self) -> dict[str, JsonValue]:
        """As the report shows it."""
        cpu = {"client": self.client_cpu_ms_per_call, "server": self.server_cpu_ms_per_call}
        known: dict[str, JsonValue] = {
            f"{who}_cpu_ms_per_call": round(ms, 3) for who, ms in cpu.items() if ms is not None
        }
        noted: dict[str, JsonValue] = {"note": self.note} if self.note else {}
        return {
            "name": self.name,
            "slots": self.size.slots,
            "calls": self.size.calls,
            "wall_to_ideal": round(self.to_ideal, 3),
            "talks_a_minute": round(60 * self.size.talks / self.wall_seconds, 1),
            **known,
            **noted,
        }


def ours(size: Size, folder: Path) -> tuple[Pass, list[dict[str, Any]]]:
    """The step that makes conversations; and the bodies of all requests that it sent."""
    calls = size.talks * size.calls
    with fake_server(size.slots, LATENCY_SECONDS) as (url, server):
        work = Work(url, str(folder), size.talks, size.calls, size.talks)
        server_before, client_before = cpu_seconds(server), time.process_time()
        started = time.monotonic()
        summary = work.run().summary
        wall_seconds = time.monotonic() - started
        client_seconds = time.process_time() - client_before
        server_seconds = cpu_seconds(server) - server_before
    if (summary["made"], summary["calls"], summary["from_journal"]) != (size.talks, calls, 0):
        raise RuntimeError(f"expected {size.talks} talks of {size.calls} calls, got {summary}")
    made = Pass(
        "ours", size, wall_seconds, 1000 * client_seconds / calls, 1000 * server_seconds / calls
    )
    return made, sent_bodies(folder / "journal.sqlite")


def sent_bodies(journal_file: Path) -> list[dict[str, Any]]:
    """The bodies of all requests of a journal, as they were sent."""
    endpoint = EndpointSettings(name="fake", base_url="http://fake", model="fake", free=True)
    with Journal(journal_file) as journal:
        rows = journal.read("SELECT request FROM completions ORDER BY digest")
    return [payload(ChatRequest.model_validate_json(row), endpoint)[1] for (row,) in rows]


def bare_loop(size: Size, bodies: list[dict[str, Any]]) -> Pass:
    """`openai` alone, on aiohttp: as many talks, of as many calls after one another."""
    with fake_server(size.slots, LATENCY_SECONDS) as (url, _):
        started = time.monotonic()
        starts = range(0, len(bodies), size.calls)
        asyncio.run(_send(url, [bodies[i : i + size.calls] for i in starts], at_once=True))
        return Pass("bare loop on openai", size, time.monotonic() - started)


def sequential(size: Size, bodies: list[dict[str, Any]]) -> Pass:
    """One call after another: a few talks are timed, all are reckoned from them."""
    slice_of = [bodies[i * size.calls : (i + 1) * size.calls] for i in range(SEQUENTIAL_TALKS)]
    with fake_server(size.slots, LATENCY_SECONDS) as (url, _):
        started = time.monotonic()
        asyncio.run(_send(url, slice_of, at_once=False))
        seconds = time.monotonic() - started
    note = f"reckoned from {SEQUENTIAL_TALKS} talks that took {seconds:.1f} s"
    return Pass("sequential loop", size, seconds / SEQUENTIAL_TALKS * size.talks, note=note)


async def _send(url: str, talks: list[list[dict[str, Any]]], at_once: bool) -> None:
    import openai

    pool = openai.DefaultAioHttpClient()
    async with openai.AsyncOpenAI(api_key="none", base_url=url, http_client=pool) as client:

        async def talk(calls: list[dict[str, Any]]) -> None:
            for body in calls:
                answer = await client.chat.completions.create(**body)
                if not answer.choices[0].message.content:
                    raise RuntimeError("the fake server gave an empty answer")

        if at_once:
            await asyncio.gather(*(talk(calls) for calls in talks))
            return
        for calls in talks:
            await talk(calls)


def peer(name: str, python: Path, size: Size, bodies: list[dict[str, Any]], folder: Path) -> Pass:
    """Another tool, in its own environment. Raises RuntimeError where it does not finish."""
    talks_file = folder / "talks.json"
    talks_file.write_text(json.dumps(list(views(bodies, size)), ensure_ascii=False), "utf-8")
    script = ROOT / "benchmarks" / "peers" / SCRIPTS[name]
    with fake_server(size.slots, LATENCY_SECONDS) as (url, _):
        arguments = [url, talks_file, size.calls, size.talks, folder]
        try:
            done = subprocess.run(
                [str(python), str(script), *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PEER_SECONDS,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{name} had not finished after {PEER_SECONDS:g} s") from None
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode or not last.startswith("{"):
        raise RuntimeError(f"{name} failed: {done.stdout[-2000:]}")
    told = json.loads(last)
    note = "" if told["talks"] == size.talks else f"{told['talks']} of {size.talks} talks whole"
    return Pass(name, size, told["seconds"], note=note)


def views(bodies: list[dict[str, Any]], size: Size) -> Iterator[dict[str, str]]:
    """What each talk's patient and doctor are told, out of the requests that were sent."""
    openings = [b["messages"] for b in bodies if len(b["messages"]) == 2]
    greeting = {"en": "", "zh": ""}
    doctors: dict[str, str] = {}
    patients: list[tuple[str, str, str]] = []
    system_texts = [system["content"] for system, _ in openings]
    for system, said in openings:
        text = system["content"]
        language = "en" if text.isascii() else "zh"
        # The doctor's view is the same in every talk of a language.
        if system_texts.count(text) > size.talks // 4:
            doctors[language] = text
        else:
            greeting[language] = said["content"]
            patients.append((language, text, said["content"]))
    for language, patient, hello in patients:
        yield {"patient": patient, "doctor": doctors[language], "greeting": hello}


def passes(size: Size, peers: dict[str, Path]) -> Iterator[Pass]:
    """Every way through the talks of a size; one that fails is told and left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, bodies = ours(size, folder / "ours")
        yield made
        yield bare_loop(size, bodies)
        yield sequential(size, bodies)
        for tool, python in peers.items():
            (folder / tool).mkdir()
            try:
                yield peer(tool, python, size, bodies, folder / tool)
            except RuntimeError as failed:
                print(f"{tool} is left out at {size}: {failed}", flush=True)


def holds(made: Iterable[Pass]) -> bool:
    """Whether ours is near enough to the ideal, and enough faster than curator."""
    rates = {(one.name, one.size): one for one in made}
    good = True
    for (name, size), one in rates.items():
        if name == "ours":
            good &= one.to_ideal <= MOST_OF_IDEAL[size.slots]
        if name == "curator" and size.slots in LEAST_TO_CURATOR:
            ratio = one.wall_seconds / rates["ours", size].wall_seconds
            good &= ratio >= LEAST_TO_CURATOR[size.slots]
    return good


def measure(quick: bool, peers: dict[str, Path]) -> Measurement:
    """All sizes; the figure is our worst wall divided by ideal at up to 256 slots."""
    import aiohttp  # noqa: F401  # half a second of the process's start, not of the rate
    import openai  # noqa: F401

    sizes = [Size(slots, calls) for calls in CALLS for slots in SLOTS]
    made: list[Pass] = []
    loads = [load_averages()]
    for size in sizes[:1] if quick else sizes:
        for one in passes(size, peers):
            made.append(one)
            print(one.told(), flush=True)
        loads.append(load_averages())
    mine = {one.size: one for one in made if one.name == "ours"}
    print_ratios(made, mine)
    figure = max(one.to_ideal for size, one in mine.items() if size.slots <= 256)
    left_out = sorted(set(SCRIPTS) - {one.name for one in made})
    return Measurement(
        name="generation_peers",
        figure=round(figure, 3),
        unit="times the ideal wall time, at worst, at up to 256 slots",
        target="<= 1.06 at 256 slots, <= 1.2 at 1,024; >= 1.35 and 2 times curator's rate",
        holds=holds(made),
        measured={
            "latency_seconds": LATENCY_SECONDS,
            "talks_per_slot": TALKS_PER_SLOT,
            "passes": [one.told() for one in made],
            "not_installed_or_failed": list(left_out),
            "load_averages": list(loads),
        },
    )


def print_ratios(made: Iterable[Pass], mine: dict[Size, Pass]) -> None:
    """Our rate to each other one's, size by size."""
    for one in made:
        if one.name != "ours":
            ratio = one.wall_seconds / mine[one.size].wall_seconds
            place = f"{one.size.slots} slots, {one.size.calls} calls"
            print(f"{place}: ours to {one.name}: {ratio:.2f} times its rate")


def find_peers(arguments: argparse.Namespace) -> dict[str, Path]:
    """The interpreters of the other tools' environments, those that exist."""
    named = {"curator": arguments.curator_python, "data_designer": arguments.data_designer_python}
    for name, python in named.items():
        if not python.exists():
            print(f"{name} is not installed ({python} is absent): run `make peers`", flush=True)
    return {name: python for name, python in named.items() if python.exists()}


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="64 slots and 6 calls alone")
    for name in SCRIPTS:
        default = PEERS / name / "bin" / "python"
        parser.add_argument(f"--{name.replace('_', '-')}-python", type=Path, default=default)
    arguments = parser.parse_args()
    report(measure(arguments.quick, find_peers(arguments)), arguments.quick)


if __name__ == "__main__":
    main()
