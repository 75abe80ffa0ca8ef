import pytest
from hypothesis import given
from hypothesis import strategies as st

from judging.errors import EmptyRubric
from judging.rubric import Criterion, Judgement, Score, averaged, joined, worst_loss
from judging.wording import count_questions, ends_properly, first_mention, similarity


def score(name, weight, value):
    return Score(criterion=Criterion(name=name, weight=weight, describes={"en": name}), value=value)


def test_the_total_is_the_weighted_mean():
    judgement = Judgement(scores=(score("a", 3.0, 1.0), score("b", 1.0, 0.0)))
    assert judgement.total == 0.75


def test_a_judgement_without_scores_says_so():
    with pytest.raises(EmptyRubric):
        _ = Judgement(scores=()).total


def test_harms_take_away_and_do_not_add_to_what_can_be_reached():
    # HealthBench's form: (3 * 1 - 6 * 0.5) / 3, and below zero for the harm alone.
    assert Judgement(scores=(score("a", 3.0, 1.0), score("harm", -6.0, 0.5))).total == 0.0
    assert Judgement(scores=(score("a", 3.0, 0.0), score("harm", -6.0, 1.0))).total == -2.0
    assert score("harm", -6.0, 1.0).lost == 6.0
    assert not score("harm", -6.0, 1.0).holds
    assert score("harm", -6.0, 0.0).holds
    assert not score("merit", 6.0, 0.0).holds


def test_only_harms_reach_nothing():
    with pytest.raises(EmptyRubric):
        _ = Judgement(scores=(score("harm", -1.0, 0.0),)).total


def test_several_judges_are_averaged_by_criterion_and_joined_to_rules():
    one = Judgement(scores=(score("a", 1.0, 1.0), score("b", 1.0, 0.0)))
    other = Judgement(scores=(score("a", 1.0, 0.5), score("b", 1.0, 0.0)))
    mean = averaged((one, other))
    assert [s.value for s in mean.scores] == [0.75, 0.0]
    rules = Judgement(scores=(score("r", 2.0, 1.0),))
    assert joined(rules, mean).total == pytest.approx((2.0 + 0.75) / 4)
    with pytest.raises(EmptyRubric):
        averaged(())


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_total_lies_between_the_least_and_the_greatest_score(parts):
    judgement = Judgement(scores=tuple(score(f"c{i}", w, v) for i, (w, v) in enumerate(parts)))
    values = [v for _, v in parts]
    assert min(values) - 1e-9 <= judgement.total <= max(values) + 1e-9


def test_the_worst_loss_is_where_most_weight_went():
    better = Judgement(scores=(score("a", 1.0, 1.0), score("b", 3.0, 0.5)))
    worse = Judgement(scores=(score("a", 1.0, 0.0), score("b", 3.0, 0.4)))
    assert worst_loss(better, worse).criterion.name == "a"


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("It makes me vomiting sick.", "vomit", True),
        ("The car crash.", "rash", False),
        ("I DON’T smoke.", "don't smoke", True),
        ("请拨打120。", "120", True),
        ("有没有发烧？", "发烧", True),
        ("没有。", "发烧", False),
    ],
)
def test_a_phrase_is_found_at_a_words_beginning(text, phrase, found):
    assert (first_mention(text, (phrase,)) == phrase) is found


def test_marks_of_both_scripts_count():
    assert count_questions("Why? 为什么？") == 2
    assert ends_properly("好的。”")
    assert ends_properly('He said "no."')
    assert not ends_properly("and then")
    assert similarity("Is it bad?", "is it  bad?") == 1.0
