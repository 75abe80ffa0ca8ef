import pickle

import pytest

from endpoints.errors import BudgetExceeded
from endpoints.spending import NothingDone, more_would_cost, remaining_usd, with_estimate

REACHED = BudgetExceeded("the cap is reached.", spent_usd=5.0, cap_usd=5.0)


def test_the_rest_costs_what_the_finished_part_cost_a_row():
    assert remaining_usd(2.0, done=10, total=40) == pytest.approx(6.0)
    assert remaining_usd(2.0, done=40, total=40) == 0.0
    assert remaining_usd(0.0, done=1, total=2) == 0.0


@pytest.mark.parametrize(
    ("spent", "done", "total"), [(-1.0, 1, 2), (float("nan"), 1, 2), (1.0, 3, 2), (1.0, -1, 2)]
)
def test_numbers_that_cannot_be_are_refused(spent, done, total):
    with pytest.raises(ValueError, match="cannot be"):
        remaining_usd(spent, done, total)


def test_with_nothing_done_there_is_no_estimate_and_no_made_up_figure():
    with pytest.raises(NothingDone, match=r"none of the 40 rows .* \$2\.0000"):
        more_would_cost(2.0, done=0, total=40)
    error = with_estimate(REACHED, 2.0, done=0, total=40)
    assert error.remaining_usd_estimate is None
    assert "None of the 40 rows is finished" in str(error)
    assert "A cap of" not in str(error)


def test_the_error_says_what_more_would_cost_and_which_cap_would_do():
    error = with_estimate(REACHED, 2.0, done=10, total=40)
    assert error.remaining_usd_estimate == pytest.approx(6.0)
    for part in ("the cap is reached.", "10 of 40 rows", "other 30", "about $6.0000 more"):
        assert part in str(error)
    assert "A cap of $11.00" in str(error)  # what the ledger holds, and the rest
    assert "what steps after this one buy comes on top" in str(error)
    assert more_would_cost(2.0, done=40, total=40) == "All 40 rows are finished."


def test_the_error_keeps_its_figures_on_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(with_estimate(REACHED, 2.0, done=10, total=40)))
    assert error.remaining_usd_estimate == pytest.approx(6.0)
    assert error.cap_usd == 5.0
