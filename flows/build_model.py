"""`build_model`: the whole chain, from cases to a report."""

import tasks.telemetry  # noqa: F401  isort: skip

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.evaluate_model import BASE, Evaluations, report_inputs, report_settings
from flows.generate_data import count_data_steps, data_steps
from flows.parameters import Changes, Place
from flows.result import FlowResult
from flows.settings import read_settings
from flows.train_model import student_settings, train_steps
from tasks.child import children_end_with_the_flow
from tasks.models import make_student, write_report
from tasks.progress import plan


@flow(
    name="build_model",
    persist_result=False,
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]
)
def build_model(
    profile: str = "embedded", changes: Changes | None = None, place: Place | None = None
) -> FlowResult:
    """Generate, validate, train every stage, evaluate each model, and write the report.

    With `overlap_evaluation` one model is evaluated while the next is trained.
    """
    changes, place = changes or Changes(), place or Place()
    settings = read_settings(profile, changes)
    home = place.home.absolute()
    plan(count_data_steps(settings, changes) + 3 + 2 * len(settings.stages))
    with children_end_with_the_flow():
        data = data_steps(settings, changes, place)
        dataset = FlowResult.of(data).named("dataset").ref
        student = make_student(student_settings(settings), home)
        evaluations = Evaluations(settings, dataset, home)
        evaluations.start(BASE, student.ref, [])
        stages = train_steps(settings, student.ref, dataset, home, evaluations.start)
        evaluated = evaluations.finish()
        done = [*data, student, *stages, *evaluated]
        sources = {r.name: r.ref for r in data if r.name in ("conversations", "preferences")}
        checkpoints = {report.name: report.ref for report in stages}
        inputs = report_inputs(evaluated, dataset, sources, checkpoints)
        report = write_report(report_settings(settings, place, evaluated, done), inputs, home)
        return FlowResult.of([*done, report])
