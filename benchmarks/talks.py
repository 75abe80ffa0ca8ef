"""The work that the benchmarks of generation share: talks of a set number of calls.

`python -m benchmarks.talks SPEC.json` makes the talks of a specification in a process of its
own, and prints the step's summary as JSON.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import psutil

from artifacts.step import Built, Workspace
from datagen.access import LlmAccess
from datagen.consultations import GenerateSettings, build_conversations
from datagen.simulation import TalkSettings
from endpoints.errors import BudgetExceeded
from endpoints.prices import Prices
from endpoints.settings import EndpointSettings

ROOT = Path(__file__).resolve().parents[1]
PRICES = Prices(
    input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=2.0, as_of=date(2026, 11, 1)
)
AMPLE_USD = 100_000.0


@dataclass(frozen=True)
class Work:
    """Which talks to make, where, and against which server.

    `calls` of one talk, an even number: an opening made by the model, then answers of the
    doctor with the patient's between them. `library`: a folder of cases (None: that which
    ships).
    """

    url: str
    folder: str
    talks: int
    calls: int
    in_flight: int
    budget_usd: float = AMPLE_USD
    library: str | None = None
    journal: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The work that a file describes."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> Path:
        """Describe the work in a file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @property
    def settings(self) -> GenerateSettings:
        """The step's settings."""
        turns = self.calls // 2
        return GenerateSettings(
            rows=self.talks,
            # Peers make the bare talk too: nobody reads it and nobody repairs it.
            talk=TalkSettings(
                doctor_turns=turns,
                min_doctor_turns=turns,
                opening="generated",
                examiner="off",
                critic=False,
                repairs=0,
            ),
            style="chat",
            library=None if self.library is None else Path(self.library),
        )

    @property
    def access(self) -> LlmAccess:
        """The endpoint, the journal and the cap."""
        endpoint = EndpointSettings(
            name="fake",
            base_url=self.url,
            model="fake",
            prices=PRICES,
            max_in_flight=self.in_flight,
        )
        journal = Path(self.journal or Path(self.folder) / "journal.sqlite")
        return LlmAccess(endpoint=endpoint, journal=journal, budget_usd=self.budget_usd)

    def run(self) -> Built:
        """Make the talks in this process; files go to `folder`/out."""
        folder = Path(self.folder)
        for name in ("out", "state"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        workspace = Workspace(folder / "out", folder / "state", {}, lambda progress: None)
        return build_conversations(self.settings, self.access, workspace)

    def command(self) -> list[str]:
        """The command line that makes the talks in a process of its own."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        return [sys.executable, "-m", "benchmarks.talks", str(self.write(folder / "work.json"))]

    def start(self, root: Path = ROOT) -> "subprocess.Popen[str]":
        """Begin to make the talks in a process of its own; packages under `root` come first."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            self.command(), cwd=root, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run_apart(self, root: Path = ROOT) -> dict[str, Any]:
        """Make the talks in a process of its own; returns the step's summary."""
        with self.start(root) as process:
            output, _ = process.communicate()
        return read_summary(process.returncode, output)


def read_summary(status: int, output: str) -> dict[str, Any]:
    """What a process that made talks printed. Raises RuntimeError where it failed."""
    if status:
        raise RuntimeError(f"the process that made the talks ended with {status}: {output}")
    summary: dict[str, Any] = json.loads(output.splitlines()[-1])
    return summary


@contextmanager
def fake_server(
    slots: int, latency_seconds: float, *more: str
) -> Iterator[tuple[str, psutil.Process]]:
    """The fake server in a process of its own: its URL and process."""
    arguments = ["--latency-seconds", str(latency_seconds), "--slots", str(slots), *more]
    command = [sys.executable, "-m", "tests.fake_llm", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.terminate()


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Make the talks of a specification; where the budget ends the run, that is told."""
    try:
        built = Work.read(Path(sys.argv[1])).run()
    except BudgetExceeded as error:
        print(json.dumps({"stopped": str(error)}))
        return
    print(json.dumps(built.summary | {"counts": built.counts}))


if __name__ == "__main__":
    main()
