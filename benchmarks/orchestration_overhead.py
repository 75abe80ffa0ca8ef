"""The share of an embedded run's wall time that is not the steps' own work.

`python -m benchmarks.orchestration_overhead`: the embedded profile from an empty store, the
process's start, Prefect's start on a fresh home, and its end included. `--quick` runs the
smoke profile as far as its data set: so short that the fixed costs weigh many times more.
"""

import re
from pathlib import Path

from artifacts.store import Store
from benchmarks.measurement import (
    Measurement,
    home_or_passing,
    parse_quick_and_home,
    report,
    run_factory,
)

TARGET_SHARE = 0.05


def measure(quick: bool, home: Path | None = None) -> Measurement:
    """Run the factory once in an empty folder; steps that overlap count once."""
    with home_or_passing(home) as folder:
        run = run_factory(folder, quick)
        manifests = list(Store(folder / "store").manifests())
    if "0 reused" not in run.output:
        raise RuntimeError(f"the run was not from an empty store:\n{run.output}")
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
    quick, home = parse_quick_and_home(__doc__)
    report(measure(quick, home), quick)
