"""`evaluate_model`: every model of a chain on the same items, and the report that compares them."""

import tasks.telemetry  # noqa: F401  isort: skip

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow

from artifacts.manifest import ArtifactRef, Manifest
from artifacts.store import Store
from endpoints.settings import find_endpoint, read_endpoints
from evaluation.provenance import StepHistory
from evaluation.report import ReportSettings
from flows.parameters import Changes, Place
from flows.result import FlowResult
from flows.settings import BuildSettings, read_settings
from flows.stored import find_artifact, input_ref
from flows.train_model import model_inputs
from tasks.child import children_end_with_the_flow
from tasks.models import evaluate_checkpoint, write_report
from tasks.progress import plan
from tasks.steps import StepReport
from training.stage import CHECKPOINT

BASE = "base"


@flow(name="evaluate_model", persist_result=False)
def evaluate_model(
    profile: str = "embedded",
    changes: Changes | None = None,
    place: Place | None = None,
    checkpoint: str = "latest",
) -> FlowResult:
    """Evaluate a checkpoint, those before it and their base, and write the report.

    `checkpoint`: a key, its beginning, or "latest".
    """
    changes, place = changes or Changes(), place or Place()
    settings = read_settings(profile, changes)
    home = place.home.absolute()
    store = Store(home / "store")
    last = find_artifact(store, "checkpoint", checkpoint, "medfactory train")
    chain = chain_of(store, last)
    plan(2 + len(chain))
    student, dataset = (input_ref(store, last, name) for name in ("model", "dataset"))
    evaluations = Evaluations(settings, dataset, home)
    with children_end_with_the_flow():
        evaluations.start(BASE, student, [])
        for count, manifest in enumerate(chain, start=1):
            refs = [store.ref(earlier) for earlier in chain[:count]]
            evaluations.start(manifest.step, student, refs)
        evaluated = evaluations.finish()
        sources = source_refs(store, dataset)
        checkpoints = {manifest.step: store.ref(manifest) for manifest in chain}
        inputs = report_inputs(evaluated, dataset, sources, checkpoints)
        report = write_report(report_settings(settings, place, evaluated, evaluated), inputs, home)
    return FlowResult.of([*evaluated, report])


class Evaluations:
    """The evaluations of one build: run one by one, or beside the training if so set."""

    def __init__(self, settings: BuildSettings, dataset: ArtifactRef, home: Path) -> None:
        self._settings = settings
        self._dataset = dataset
        self._home = home
        self._results: list[Any] = []

    def start(self, name: str, student: ArtifactRef, chain: list[ArtifactRef]) -> None:
        """Evaluate a model, now or in the background."""
        inputs = model_inputs(student, self._dataset, chain)
        arguments = (name, self._settings.evaluate, inputs, self._home)
        if self._settings.overlap_evaluation:
            self._results.append(evaluate_checkpoint.submit(*arguments))
        else:
            self._results.append(evaluate_checkpoint(*arguments))

    def finish(self) -> list[StepReport]:
        """All reports, in the order in which they were started."""
        return [r if isinstance(r, StepReport) else r.result() for r in self._results]


def chain_of(store: Store, last: Manifest) -> list[Manifest]:
    """The checkpoints of a chain, the first stage first, by the last one's inputs."""
    names = [name for name in last.inputs if name.startswith(CHECKPOINT)]
    names.sort(key=lambda name: int(name.removeprefix(CHECKPOINT)))
    earlier = [store.resolve(f"checkpoint/{last.inputs[name].key}") for name in names]
    return [*earlier, last]


def source_refs(store: Store, dataset: ArtifactRef) -> dict[str, ArtifactRef]:
    """The conversations and pairs that a data set was made from, where they were generated."""
    manifest = store.resolve(f"dataset/{dataset.key}")
    names = [name for name in ("conversations", "preferences") if name in manifest.inputs]
    return {name: input_ref(store, manifest, name) for name in names}


def report_inputs(
    evaluated: Sequence[StepReport],
    dataset: ArtifactRef,
    sources: dict[str, ArtifactRef],
    checkpoints: dict[str, ArtifactRef],
) -> dict[str, ArtifactRef]:
    """The report's inputs by the names that it knows."""
    evaluations = {f"evaluation_{model_name(report)}": report.ref for report in evaluated}
    trained = {f"checkpoint_{name}": ref for name, ref in checkpoints.items()}
    return {"dataset": dataset, **sources, **evaluations, **trained}


def report_settings(
    settings: BuildSettings,
    place: Place,
    evaluated: Sequence[StepReport],
    done: Sequence[StepReport],
) -> ReportSettings:
    """What the report compares, and what this run did."""
    endpoint = find_endpoint(read_endpoints(place.endpoints_file), settings.endpoint)
    return ReportSettings(
        models=tuple(model_name(report) for report in evaluated),
        language=settings.report_language,
        embedded=endpoint.embedded is not None,
        history=tuple(
            StepHistory(
                name=report.name,
                kind=report.ref.kind,
                key=report.ref.key,
                status=report.status,
                reason=report.reason,
                seconds=report.seconds,
                build_seconds=report.build_seconds,
                cost_usd=report.cost_usd,
            )
            for report in done
        ),
    )


def model_name(evaluation: StepReport) -> str:
    """The model that an evaluation is of."""
    return evaluation.name.removeprefix("evaluate_")
