import pytest

from artifacts.manifest import ArtifactRef
from tasks.steps import StepReport


def report(**more) -> StepReport:
    values = {
        "name": "student",
        "ref": ArtifactRef(kind="model", key="0123456789abcdef", digest="d", location="/store"),
        "status": "built",
        "reason": "new: first artifact of this step",
        "seconds": 2.0,
        "build_seconds": 2.0,
        "cost_usd": 0.0,
        "counts": {},
        "summary": {},
    }
    return StepReport.model_validate(values | more)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "student: built in 2.0 s"),
        ({"cost_usd": 0.5, "counts": {"rows": 3}}, "student: built in 2.0 s $0.5000 (3 rows)"),
        ({"status": "reused"}, "student: reused model/0123456789ab"),
    ],
)
def test_a_steps_line_says_what_there_is_to_say_and_no_more(more, line):
    assert report(**more).line() == line
