"""The factory as a person runs it: `medfactory run` in a process, on a fake teacher."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from artifacts.digest import digest_json
from artifacts.manifest import Manifest
from artifacts.store import Store
from tests.fake_llm import FakeLLM
from tests.tiny_model import tiny_model

PROFILE = """
endpoint: teacher
generate:
  cases_per_language: 4
  conversations_per_case: 2
  talk: {doctor_turns: 4}
preferences: {methods: [sampled], samples: 3}
evaluate: {samples: 1, sample_tokens: 8}
stages:
  sft: {learning_rate: 1.0e-3, max_steps: 6, save_every_steps: 1, samples: 1, sample_tokens: 8}
  dpo: {learning_rate: 1.0e-3, max_steps: 6, save_every_steps: 1, samples: 1, sample_tokens: 8}
"""
WAIT_SECONDS = 180.0


@dataclass
class Factory:
    """One home with its endpoints, profile and student."""

    folder: Path
    server: FakeLLM

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "endpoints.yaml").write_text(
            "endpoints:\n"
            "  teacher:\n"
            f"    base_url: {self.server.base_url}\n"
            "    model: fake\n"
            "    max_in_flight: 4\n"
            "    prices: {input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 2, "
            "as_of: 2026-11-01}\n"
        )
        model = self.folder.parent / "student"
        if not model.exists():
            tiny_model(model)
        profile = PROFILE + f"student: {{model: {model}}}\n"
        (self.folder / "profile.yaml").write_text(profile)

    @property
    def store(self) -> Store:
        """The store of the home."""
        return Store(self.folder / "home" / "store")

    def command(self, *more: str) -> list[str]:
        """The command line of a run."""
        return [
            sys.executable,
            "-m",
            "medfactory.cli",
            "run",
            *("--profile", str(self.folder / "profile.yaml")),
            *("--endpoints-file", str(self.folder / "endpoints.yaml")),
            *("--home", str(self.folder / "home")),
            *more,
        ]

    def run(self, *more: str, environment: dict[str, str] | None = None) -> str:
        """Run to the end; returns what was printed. Raises where the run fails."""
        done = subprocess.run(
            self.command(*more),
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop_when(self, condition: Callable[[], bool], number: signal.Signals) -> "Stopped":
        """Start a run, and send it a signal as soon as a condition holds."""
        with subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                _wait_for(condition, process)
                children = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(number)
                output, _ = process.communicate(timeout=60)
            except BaseException:
                process.kill()
                raise
        _, alive = psutil.wait_procs(children, timeout=20)
        return Stopped(process.returncode, output, alive)

    def manifest(self, step: str) -> Manifest:
        """The newest manifest of a step."""
        return [m for m in self.store.manifests() if m.step == step][-1]

    def bought_twice(self) -> int:
        """How many requests reached the server more than once."""
        bodies = Counter(digest_json(seen.body) for seen in self.paid_requests())
        return sum(number - 1 for number in bodies.values())

    def paid_requests(self) -> list[object]:
        """Requests for completions, which cost money."""
        return [seen for seen in self.server.requests if "completions" in seen.path]


@dataclass(frozen=True)
class Stopped:
    """How a stopped run ended, and which of its children still live."""

    status: int
    output: str
    alive: list[psutil.Process]


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, "the run never came to the point to stop it"
        time.sleep(0.01)
