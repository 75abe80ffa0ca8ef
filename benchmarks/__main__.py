"""Run every benchmark and write the table: `python -m benchmarks [--quick]`."""

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measurement import parse_quick

NAMES = (
    "orchestration_overhead",
    "reused_run",
    "generation_peers",
    "generation_crash",
    "generation_faults",
    "generation_memory",
)
# What the first of these builds, the second one reuses.
ONE_HOME = ("orchestration_overhead", "reused_run")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    """Run each in a process of its own; a table of full-size results goes into the docs."""
    quick = parse_quick("Run every benchmark.")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
            if name in ONE_HOME:
                command += ["--home", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            print(done.stdout, end="", flush=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    if not quick:
        PAGE.write_text(table(results), encoding="utf-8")
        print(f"written: {PAGE}")


def table(results: list[dict[str, object]]) -> str:
    """The page of results, with what was measured below the table."""
    day = datetime.now(UTC).date().isoformat()
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {day}. Each row by `.venv/bin/python -m benchmarks.<name>`;",
        "`--quick` runs a smaller size in about a minute. `make peers` installs the other tools",
        "that `generation_peers` measures beside ours; it leaves out those that are absent.",
        "",
        "| benchmark | figure | target | holds |",
        "|---|---|---|---|",
    ]
    for result in results:
        holds = "yes" if result["holds"] else "**no**"
        figure = f"{result['figure']} {result['unit']}"
        lines.append(f"| `{result['name']}` | {figure} | {result['target']} | {holds} |")
    for result in results:
        measured = json.dumps(
            {"measured": result["measured"], "machine": result["machine"]}, indent=1
        )
        lines += ["", f"## {result['name']}", "", "```json", measured, "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
