import math

import pytest

from evaluation.comparison import compare
from evaluation.errors import EmptyBenchmark, MismatchedItems
from evaluation.items import METRICS, paired, read_items, write_items
from evaluation.scorecard import Scorecard, make_scorecard
from evaluation.scores import implicit_rewards, score_lines
from evaluation.shares import mcnemar_p, paired_interval
from evaluation.statistics import sign_flip_p
from tests.evaluation.factory import item, items

THREE = {
    "base": items(20, losses=3.0, right=6, preferred=10),
    "sft": items(20, losses=2.0, right=8, preferred=10, margin=1.0),
    "dpo": items(20, losses=2.0, right=6, preferred=19, margin=3.0),
}


def found(comparisons, model, against, benchmark, metric):
    place = (model, against, benchmark, metric)
    return next(c for c in comparisons if (c.model, c.against, c.benchmark, c.metric) == place)


def test_each_later_model_meets_the_first_and_the_one_before():
    pairs = {(c.model, c.against) for c in compare(THREE)}
    assert pairs == {("sft", "base"), ("dpo", "base"), ("dpo", "sft")}


def test_a_lower_loss_is_an_improvement():
    loss = found(compare(THREE), "sft", "base", "held_out", "nats_per_token")
    assert loss.difference == pytest.approx(-1.0)
    assert loss.improvement == pytest.approx(1.0)
    assert loss.verdict == "better"


def test_a_gain_of_two_questions_is_noise_and_says_what_would_not_be():
    gain = found(compare(THREE), "sft", "base", "questions", "accuracy")
    assert (gain.gained, gain.lost) == (2, 0)
    assert gain.p_value == mcnemar_p(2, 0) == 0.5
    assert gain.verdict == "noise"
    assert gain.minimum_detectable > gain.improvement


def test_a_share_needs_both_tests_and_takes_the_larger_p():
    crowd = {
        "base": [item("questions", "accuracy", i, 0.0, cluster=f"t{i % 10}") for i in range(40)],
        "new": [
            item("questions", "accuracy", i, float(i % 10 < 4), cluster=f"t{i % 10}")
            for i in range(40)
        ],
    }
    comparison = compare(crowd)[0]
    by_items, by_clusters = mcnemar_p(16, 0), sign_flip_p([4.0] * 4 + [0.0] * 6, list("abcdefghij"))
    assert by_items < 0.001 < by_clusters
    assert comparison.p_value == by_clusters
    assert comparison.test == "mcnemar+sign_flip"


def test_a_share_that_no_item_changed_has_an_interval_all_the_same():
    same = {"base": items(20, 3.0, 6, 10), "sft": items(20, 2.0, 6, 10)}
    comparison = found(compare(same), "sft", "base", "questions", "accuracy")
    wanted = paired_interval(0, 0, 20)
    assert (comparison.interval.low, comparison.interval.high) == (wanted.low, wanted.high)
    assert wanted.low < -0.15
    assert wanted.high > 0.15


def test_the_least_detectable_difference_counts_all_comparisons():
    # Of one comparison 6 changed items of 20 reach p 0.05; of nine it takes 9.
    one = {name: [i for i in own if i.benchmark == "questions"] for name, own in THREE.items()}
    alone = found(
        compare({n: one[n] for n in ("base", "sft")}), "sft", "base", "questions", "accuracy"
    )
    among = found(compare(THREE), "sft", "base", "questions", "accuracy")
    assert 6 / 20 < alone.minimum_detectable < 9 / 20 < among.minimum_detectable


def test_a_model_without_one_of_the_measures_is_refused():
    fewer = [i for i in THREE["sft"] if i.benchmark != "preference"]
    with pytest.raises(MismatchedItems, match="preference"):
        make_scorecard({"base": THREE["base"], "sft": fewer})


def test_an_item_measured_twice_is_refused():
    twice = {name: [*own, own[0]] for name, own in THREE.items()}
    with pytest.raises(MismatchedItems, match="measured twice"):
        compare(twice)


def test_a_loss_on_every_question_is_worse():
    fewer = {"base": items(20, 3.0, 20, 10), "sft": items(20, 3.0, 0, 10)}
    assert found(compare(fewer), "sft", "base", "questions", "accuracy").verdict == "worse"


def test_few_clusters_take_t_and_one_cluster_says_nothing():
    def both(clusters):
        return {
            name: [
                item("held_out", "nats_per_token", i, loss, cluster=f"c{i % clusters}")
                for i, loss in enumerate(losses)
            ]
            for name, losses in (("a", [3.0, 3.1, 2.9, 3.0]), ("b", [2.0, 2.2, 1.9, 2.1]))
        }

    few = compare(both(4))[0]
    assert (few.test, few.verdict) == ("t", "better")
    alone = compare(both(1))[0]
    assert (alone.interval, alone.p_value, alone.reason) == (None, None, "too_few_clusters")
    assert alone.verdict == "noise"


def test_equal_models_are_noise_on_everything():
    same = {"base": THREE["base"], "copy": THREE["base"]}
    assert {c.verdict for c in compare(same)} == {"noise"}


def test_other_items_are_refused():
    fewer = {"base": THREE["base"], "sft": items(19, 2.0, 8, 10)}
    with pytest.raises(MismatchedItems, match="not measured on the same items"):
        compare(fewer)


def test_no_item_is_refused():
    with pytest.raises(EmptyBenchmark):
        paired(METRICS[0], "a", "b", {"a": [], "b": []})
    with pytest.raises(EmptyBenchmark, match="sft"):
        make_scorecard({"base": THREE["base"], "sft": []})


def test_holm_corrects_over_all_main_comparisons():
    comparisons = [c for c in compare(THREE) if c.primary]
    assert len(comparisons) == 9
    least = min(comparisons, key=lambda c: c.p_value)
    assert least.p_adjusted == pytest.approx(9 * least.p_value)


def test_scores_are_means_with_intervals_in_all_and_per_language():
    mixed = [
        item("questions", "accuracy", i, float(i < 3), language="en" if i < 4 else "zh")
        for i in range(8)
    ]
    lines = {line.language: line for line in score_lines({"m": mixed})}
    assert {k: v.mean for k, v in lines.items()} == {"all": 3 / 8, "en": 3 / 4, "zh": 0.0}
    assert lines["zh"].interval.low == 0.0
    assert lines["all"].interval.low < 3 / 8 < lines["all"].interval.high


def test_implicit_rewards_count_the_pairs_that_moved():
    lines = {line.model: line for line in implicit_rewards(THREE)}
    assert lines["dpo"].share == 1.0
    assert lines["dpo"].mean_margin_nats == pytest.approx(3.0)


def test_the_scorecard_is_the_same_each_time_and_is_plain_json():
    card = make_scorecard(THREE)
    assert card == make_scorecard(THREE)
    assert Scorecard.model_validate_json(card.model_dump_json()) == card
    assert card.verdicts == {"held_out": "better", "questions": "noise", "preference": "better"}
    with pytest.raises(EmptyBenchmark):
        card.score("dpo", "held_out", "beauty")


def test_figures_can_be_worked_out_by_hand_from_the_items_file(tmp_path):
    from pyarrow import parquet

    write_items(tmp_path / "items.parquet", THREE["dpo"])
    rows = parquet.read_table(tmp_path / "items.parquet").to_pylist()
    mine = [r for r in rows if (r["benchmark"], r["metric"]) == ("preference", "accuracy")]
    card = make_scorecard(THREE)
    by_hand = math.fsum(r["value"] for r in mine) / len(mine)
    assert card.score("dpo", "preference", "accuracy").mean == by_hand
    assert sorted(read_items(tmp_path), key=str) == sorted(THREE["dpo"], key=str)
