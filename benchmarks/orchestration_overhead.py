"""The share of an embedded run's wall time that is not the steps' own work.

`python -m benchmarks.orchestration_overhead`: the embedded profile from an empty store, the
process's start, Prefect's start on a fresh home, and its end included. `--quick` runs the
smoke profile, whose steps are so short that the fixed costs weigh several times more.
"""

import tempfile
from pathlib import Path

from artifacts.store import Store
from benchmarks.measurement import Measurement, parse_quick, report, run_factory

TARGET_SHARE = 0.05


def measure(quick: bool) -> Measurement:
    """Run the factory once in an empty folder and compare with its manifests' seconds."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = run_factory(home, quick)
        manifests = list(Store(home / "store").manifests())
    steps = {f"{m.step} {m.key[:6]}": m.seconds for m in manifests}
    share = 1 - sum(steps.values()) / run.wall_seconds
    return Measurement(
        name="orchestration_overhead",
        figure=round(share, 4),
        unit="of wall time outside the steps",
        target=f"<= {TARGET_SHARE}",
        holds=share <= TARGET_SHARE,
        measured={
            "wall_seconds": round(run.wall_seconds, 2),
            "steps_seconds": round(sum(steps.values()), 2),
            "outside_seconds": round(run.wall_seconds - sum(steps.values()), 2),
            "steps": dict(steps),
        },
    )


if __name__ == "__main__":
    quick = parse_quick(__doc__)
    report(measure(quick), quick)
