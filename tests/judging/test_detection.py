import pytest

from judging.detection import Detections
from judging.errors import NoFigure


def test_precision_and_recall_are_counted_by_type_and_overall():
    seen = Detections()
    seen.add(["wrong_dose"], "wrong_dose")
    seen.add(["wrong_dose", "jargon"], "wrong_dose")
    seen.add([], "wrong_dose")
    seen.add(["jargon"], "jargon")
    seen.add([])
    seen.add(["wrong_dose"])
    found = seen.figures()
    dose = found.by_type["wrong_dose"]
    assert (dose.precision.successes, dose.precision.total) == (2, 3)
    assert (dose.recall.successes, dose.recall.total) == (2, 3)
    jargon = found.by_type["jargon"]
    assert (jargon.precision.value, jargon.recall.value) == (0.5, 1.0)
    assert (found.overall.precision.successes, found.overall.precision.total) == (3, 5)
    assert (found.overall.recall.successes, found.overall.recall.total) == (3, 4)
    assert (found.none_named.successes, found.none_named.total) == (1, 2)


def test_intervals_are_wilsons():
    seen = Detections()
    for _ in range(20):
        seen.add([], "coldness")
    # Wilson 1927 for 0 of 20: 0 to 0.161.
    interval = seen.figures().by_type["coldness"].recall.interval
    assert (interval.low, interval.high) == (0.0, pytest.approx(0.1611, abs=1e-4))


def test_what_was_never_named_has_no_precision_and_what_nothing_carries_no_recall():
    seen = Detections()
    seen.add([], "jargon")
    seen.add(["coldness"])
    found = seen.figures().by_type
    assert found["jargon"].precision is None
    assert found["coldness"].recall is None


def test_no_turns_have_no_figures():
    with pytest.raises(NoFigure):
        Detections().figures()
