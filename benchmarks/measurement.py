"""What a benchmark prints, and how it runs the factory as a person would."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue


@dataclass(frozen=True)
class Measurement:
    """A figure beside its target; `holds` says whether it is met."""

    name: str
    figure: float
    unit: str
    target: str
    holds: bool
    measured: dict[str, JsonValue]


@dataclass(frozen=True)
class Timed:
    """One finished command: wall and user seconds of it and its children."""

    wall_seconds: float
    user_seconds: float
    output: str


def parse_quick(description: str) -> bool:
    """Whether `--quick` was given on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under a minute, a smaller size")
    return bool(parser.parse_args().quick)


def parse_quick_and_home(description: str) -> tuple[bool, Path | None]:
    """`--quick`, and `--home`: a folder to build in, or that another benchmark has built."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under a minute, a smaller size")
    parser.add_argument("--home", type=Path, help="folder of the run (else a passing one)")
    arguments = parser.parse_args()
    return bool(arguments.quick), arguments.home


@contextmanager
def home_or_passing(home: Path | None) -> Iterator[Path]:
    """The folder given, or a temporary one."""
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def report(measurement: Measurement, quick: bool) -> None:
    """Print the measurement, the JSON object last."""
    state = "holds" if measurement.holds else "DOES NOT HOLD"
    print(
        f"{measurement.name}: {measurement.figure:.4g} {measurement.unit} "
        f"(target {measurement.target}): {state}"
    )
    machine = {"cores": os.cpu_count(), "system": platform.system(), "quick": quick}
    print(json.dumps(asdict(measurement) | {"machine": machine}))


def load_averages() -> JsonValue:
    """How busy the machine was over the last 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def run_timed(command: list[str], environment: dict[str, str] | None = None) -> Timed:
    """Run a command to its end. Raises CalledProcessError, its output shown, where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    started = time.monotonic()
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    wall_seconds = time.monotonic() - started
    user_seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    if done.returncode:
        sys.stderr.write(done.stdout)
        done.check_returncode()
    return Timed(wall_seconds, user_seconds, done.stdout)


def run_factory(home: Path, quick: bool) -> Timed:
    """`medfactory run` on the embedded model; quick: the smoke profile as far as its data set."""
    asked = ["generate", "--profile", "smoke"] if quick else ["run", "--profile", "embedded"]
    return run_timed([sys.executable, "-m", "medfactory.cli", *asked, "--home", str(home)])
