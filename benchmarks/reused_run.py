"""How long a fully reused run takes, and `medfactory --help`.

`python -m benchmarks.reused_run`: the embedded profile is built once (not timed), then run
again three times; the figure is the median. `--quick` takes the smoke profile as far as its
data set, and `--home` a folder that is built already.
"""

import statistics
import sys
from pathlib import Path

from artifacts.store import Store
from benchmarks.measurement import (
    Measurement,
    home_or_passing,
    parse_quick_and_home,
    report,
    run_factory,
    run_timed,
)

TARGET_SECONDS = 15.0
TARGET_HELP_USER_SECONDS = 0.5
TIMES = 3


def measure(quick: bool, home: Path | None = None) -> Measurement:
    """Build once, then time reused runs and the help."""
    with home_or_passing(home) as folder:
        run_factory(folder, quick)
        manifests = Store(folder / "store").manifests()
        built_seconds = sum(manifest.seconds for manifest in manifests)
        again = [run_factory(folder, quick) for _ in range(TIMES)]
    if not all(" 0 built" in run.output for run in again):
        raise RuntimeError(f"a second run built something again:\n{again[-1].output}")
    command = [sys.executable, "-m", "medfactory.cli", "--help"]
    helped = [run_timed(command).user_seconds for _ in range(TIMES)]
    figure = statistics.median(run.wall_seconds for run in again)
    help_seconds = statistics.median(helped)
    return Measurement(
        name="reused_run",
        figure=round(figure, 2),
        unit="s for a fully reused run",
        target=f"<= {TARGET_SECONDS} s, --help <= {TARGET_HELP_USER_SECONDS} s user",
        holds=figure <= TARGET_SECONDS and help_seconds <= TARGET_HELP_USER_SECONDS,
        measured={
            "reused_wall_seconds": [round(run.wall_seconds, 2) for run in again],
            "seconds_of_the_steps_when_built": round(built_seconds, 1),
            "ratio_reused_to_built": round(figure / built_seconds, 4),
            "help_user_seconds": round(help_seconds, 3),
        },
    )


if __name__ == "__main__":
    quick, home = parse_quick_and_home(__doc__)
    report(measure(quick, home), quick)
