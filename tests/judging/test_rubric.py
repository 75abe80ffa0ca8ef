import pytest
from hypothesis import given
from hypothesis import strategies as st

from judging.errors import EmptyRubric
from judging.rubric import Criterion, Judgement, Score, worst_loss
from judging.wording import count_questions, ends_properly, first_mention, similarity


def score(name, weight, value):
    return Score(criterion=Criterion(name=name, weight=weight, describes=name), value=value)


def test_the_total_is_the_weighted_mean():
    judgement = Judgement(scores=(score("a", 3.0, 1.0), score("b", 1.0, 0.0)))
    assert judgement.total == 0.75


def test_a_judgement_without_scores_says_so():
    with pytest.raises(EmptyRubric):
        _ = Judgement(scores=()).total


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_total_lies_between_the_least_and_the_greatest_score(parts):
    judgement = Judgement(scores=tuple(score(str(i), w, v) for i, (w, v) in enumerate(parts)))
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
