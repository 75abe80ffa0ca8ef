"""The share of an embedded run's wall time that is not the steps' own work.

`python -m benchmarks.orchestration_overhead`: the embedded profile from an empty store, the
process's start, Prefect's start on a fresh home, and its end included. `--quick` runs the
smoke profile, whose steps are so short that the fixed costs weigh several times more.
"""

import re
import tempfile
from pathlib import Path

from artifacts.store import Store
from benchmarks.measurement import Measurement, parse_quick, report, run_factory

TARGET_SHARE = 0.05


def measure(quick: bool) -> Measurement:
    """Run the factory once in an empty folder; steps that overlap count once."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = run_factory(home, quick)
        manifests = list(Store(home / "store").manifests())
    steps = {f"{m.step} {m.key[:6]}": m.seconds for m in manifests}
    busy_seconds = float(re.findall(r"([\d.]+) s of it in the steps", run.output)[-1])
    share = 1 - busy_seconds / run.wall_seconds
    return Measurement(
        name="orchestration_overhead",
        figure=round(share, 4),
        unit="of wall time outside the steps",
        target=f"<= {TARGET_SHARE}",
        holds=share <= TARGET_SHARE,
        measured={
            "wall_seconds": round(run.wall_seconds, 2),
            "seconds_with_a_step_at_work": busy_seconds,
            "seconds_outside": round(run.wall_seconds - busy_seconds, 2),
            "seconds_of_each_step": dict(steps),
        },
    )


if __name__ == "__main__":
    quick = parse_quick(__doc__)
    report(measure(quick), quick)
