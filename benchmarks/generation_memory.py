"""Whether memory stays flat however many conversations are made.

`python -m benchmarks.generation_memory`: 100,000 talks of 6 calls, in a process of their own,
against a fake server that answers at once. Its resident memory is sampled twice a second and
printed as a curve. Flat: the last fifth holds at most 1.1 times what the second fifth held.
Takes seven to sixteen minutes on two cores, by how busy they are. `--quick`: 5,000 talks.
"""

import statistics
import tempfile
import time
from pathlib import Path

import psutil
from pydantic import JsonValue

from benchmarks.measurement import Measurement, load_averages, parse_quick, report
from benchmarks.talks import Work, fake_server, read_summary
from datagen.files import CONVERSATIONS

TALKS, QUICK_TALKS = 100_000, 5_000
CALLS = 6
IN_FLIGHT = 64
SLOTS = 256
SAMPLE_SECONDS = 0.5
MOST_BYTES = 1.5e9
MOST_GROWTH = 1.1
POINTS = 20
BAR_CHARACTERS = 50
MIB = 1 << 20


def sampled(work: Work) -> tuple[list[float], float]:
    """Resident MiB of the process that makes the talks, over its life; and its seconds."""
    samples: list[float] = []
    started = time.monotonic()
    with work.start() as process:
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                samples.append(seen.memory_info().rss / MIB)
            except psutil.NoSuchProcess:
                break
            time.sleep(SAMPLE_SECONDS)
        output, _ = process.communicate()
    summary = read_summary(process.returncode, output)
    if summary.get("made") != work.talks:
        raise RuntimeError(f"expected {work.talks} talks, got {summary}")
    return samples, time.monotonic() - started


def growth(samples: list[float]) -> float:
    """The median of the last fifth beside that of the second: the first is the start."""
    fifth = max(1, len(samples) // 5)
    second, last = samples[fifth : 2 * fifth], samples[-fifth:]
    return statistics.median(last) / statistics.median(second)


def curve(samples: list[float]) -> list[float]:
    """So many points over the whole run, each the most of its part."""
    step = max(1, len(samples) // POINTS)
    return [round(max(samples[i : i + step]), 1) for i in range(0, len(samples), step)]


def measure(quick: bool) -> Measurement:
    """One run; the figure is the most that it held."""
    talks = QUICK_TALKS if quick else TALKS
    with tempfile.TemporaryDirectory() as name, fake_server(SLOTS, 0.0) as (url, _):
        samples, seconds = sampled(Work(url, name, talks, CALLS, IN_FLIGHT))
        with (Path(name) / "out" / CONVERSATIONS).open("rb") as stream:
            rows = sum(1 for _ in stream)
    points = curve(samples)
    for index, point in enumerate(points):
        bar = "#" * round(BAR_CHARACTERS * point / max(points))
        print(f"{100 * index // len(points):3} % of the time {point:8.1f} MiB {bar}", flush=True)
    most_gb = max(samples) * MIB / 1e9
    grown = growth(samples)
    told: dict[str, JsonValue] = {
        "talks": talks,
        "rows_written": rows,
        "calls": talks * CALLS,
        "minutes": round(seconds / 60, 2),
        "talks_a_minute": round(60 * talks / seconds),
        "last_fifth_to_second_fifth": round(grown, 3),
        "curve_mib": list(points),
        "load_averages": load_averages(),
    }
    return Measurement(
        name="generation_memory",
        figure=round(most_gb, 3),
        unit=f"GB at most, {grown:.3f} times as much in the last fifth as in the second",
        target=f"<= {MOST_BYTES / 1e9:g} GB and flat (<= {MOST_GROWTH} times)",
        holds=max(samples) * MIB <= MOST_BYTES and grown <= MOST_GROWTH and rows == talks,
        measured=told,
    )


if __name__ == "__main__":
    quick = parse_quick(__doc__)
    report(measure(quick), quick)
