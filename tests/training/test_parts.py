import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.callbacks import MetricsFile, check_loss
from training.data import spread
from training.dpo import dpo_loss
from training.errors import Diverged
from training.order import row_order, step_count, tokens_by_step
from training.resume import mark_complete, newest_complete


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=80),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 5),
)
def test_every_row_comes_once_an_epoch(lengths, batch_size, epochs, seed):
    order = row_order(lengths, batch_size, epochs, seed)
    assert Counter(order) == dict.fromkeys(range(len(lengths)), epochs)
    assert order == row_order(lengths, batch_size, epochs, seed)


@given(st.integers(9, 80), st.integers(1, 8), st.integers(1, 4))
def test_no_batch_holds_a_row_twice(rows, batch_size, epochs):
    order = row_order(list(range(rows)), batch_size, epochs, seed=0)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        assert len(set(batch)) == len(batch)


def test_rows_alike_in_length_share_a_batch():
    lengths = [n % 4 * 100 for n in range(32)]
    order = row_order(lengths, batch_size=8, epochs=2, seed=3)
    for start in range(0, 64, 8):
        assert len({lengths[row] for row in order[start : start + 8]}) == 1


def test_another_seed_gives_another_order():
    orders = {tuple(row_order([5] * 20, 4, 1, seed)) for seed in range(4)}
    assert len(orders) == 4


def test_tokens_are_counted_up_to_each_step():
    assert step_count(5, 2) == 3
    assert tokens_by_step([1, 2, 3, 4, 5], 2, 3) == [3, 10, 15]


def test_spread_rows_come_from_the_whole_list():
    assert spread([0, 1, 2, 3, 4, 5, 6, 7], 4) == [0, 2, 4, 6]
    assert spread([1, 2], 5) == [1, 2]
    assert spread([], 3) == []
    assert spread([1, 2], 0) == []


def test_the_dpo_loss_is_what_the_paper_says():
    assert dpo_loss(0.0, 0.0, 0.1) == pytest.approx(0.6931472)
    assert dpo_loss(2.0, -1.0, 0.5) == pytest.approx(0.2014133)  # -ln σ(1.5)
    assert dpo_loss(-2.0, 1.0, 0.5) == pytest.approx(1.7014133)  # -ln σ(-1.5)
    assert dpo_loss(-1e5, 1e5, 1.0) == 2e5  # no overflow


@pytest.mark.parametrize(
    ("loss", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (0.5, float("nan")), (0.0, 0.0)]
)
def test_a_loss_that_cannot_be_stops_the_run(loss, norm):
    with pytest.raises(Diverged, match="step 7"):
        check_loss(7, loss, norm)


def test_a_sound_loss_goes_on():
    check_loss(1, 0.5, 1.0)
    check_loss(1, 1e-9, None)


def test_metrics_of_steps_that_are_done_again_are_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    assert [line["step"] for line in MetricsFile(path, done_steps=2).lines()] == [1, 2]
    assert MetricsFile(tmp_path / "none.jsonl", done_steps=0).lines() == []


def checkpoint(folder, step, fingerprint="a", complete=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"1234")
    if complete:
        mark_complete(path, fingerprint)
    return path


def test_the_newest_complete_checkpoint_is_found_and_half_written_ones_go(tmp_path):
    good, half = checkpoint(tmp_path, 8), checkpoint(tmp_path, 10, complete=False)
    assert newest_complete(tmp_path, "a") == good
    assert not half.exists()


def test_a_checkpoint_removes_older_ones_only_when_it_is_complete(tmp_path):
    old = checkpoint(tmp_path, 8)
    new = checkpoint(tmp_path, 10, complete=False)
    assert old.exists()
    mark_complete(new, "a")
    assert not old.exists()


def test_a_checkpoint_that_lost_bytes_is_not_trusted(tmp_path):
    path = checkpoint(tmp_path, 8)
    (path / "weights").write_bytes(b"12")
    assert newest_complete(tmp_path, "a") is None
    assert not path.exists()


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path):
    checkpoint(tmp_path, 8, fingerprint="b")
    assert newest_complete(tmp_path, "a") is None
    assert newest_complete(tmp_path / "absent", "a") is None


def test_a_marker_names_all_files(tmp_path):
    marker = checkpoint(tmp_path, 8) / "complete.json"
    assert json.loads(marker.read_text()) == {"fingerprint": "a", "sizes": {"weights": 4}}
