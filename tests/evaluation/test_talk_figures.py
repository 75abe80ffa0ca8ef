import pytest

from evaluation.errors import NotEnoughData
from evaluation.talk_figures import Counts, Sample, Talk, act_of, diversity, figures_of, sentences
from validation.schemas import Message


def talk(*lines, language="en", group="a"):
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[i % 2], content=text) for i, text in enumerate(lines))
    return Talk(language=language, group=group, messages=messages)


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("How long have you had it?", "asks"),
        ("I see. How long?", "asks"),
        ("That must be frightening for you. Does it spread to the arm?", "both"),
        ("Please go to the hospital at once.", "tells"),
        ("疼了多久了？", "asks"),
        ("您先别着急，我们慢慢说。疼了多久？", "both"),
        ("请马上去急诊科就诊。", "tells"),
    ],
)
def test_a_doctors_turn_asks_or_tells_or_does_both(text, act):
    assert act_of(text) == act


def test_a_point_inside_a_number_ends_no_sentence():
    assert sentences("Take 2.5 mg now. Rest!") == ["Take 2.5 mg now.", "Rest!"]


def test_lengths_and_balance_are_what_a_hand_counts():
    counts = Counts("en")
    counts.add(talk("abcd", "Is it bad?", "efgh", "Rest and drink enough water."))
    counts.add(talk("ab", "Where? Since when?"))
    lengths, balance = counts.lengths(), counts.balance()
    assert lengths.talks == 2
    assert lengths.doctor_turns == {1: 1, 2: 1}
    assert lengths.mean_doctor_turns == 1.5
    assert lengths.median_patient_width == 4.0
    assert lengths.median_doctor_width == 18.0
    assert lengths.patient_share == pytest.approx(10 / (10 + 10 + 28 + 18))
    assert (balance.asks, balance.tells, balance.both) == (2 / 3, 1 / 3, 0.0)
    assert balance.questions_per_asking_turn == 1.5


def test_a_doctor_who_never_asks_has_no_number_of_questions():
    counts = Counts("en")
    counts.add(talk("It hurts.", "Rest and drink enough water."))
    assert counts.balance().questions_per_asking_turn is None


def test_a_chinese_character_counts_two():
    counts = Counts("zh")
    counts.add(talk("头疼", "疼了几天？", language="zh"))
    assert counts.lengths().median_patient_width == 4.0


def test_equal_talks_recur_and_share_their_words_and_different_ones_do_not():
    words = "one two three four five six seven eight nine ten"
    other = "a b c d e f g h i j"
    same = [talk(words, words), talk(words, words)]
    varied = [talk(words, "x y z"), talk(other, "u v w", group="b")]
    found = diversity({"same": same, "varied": varied})
    assert found["same"].recurring == 1.0
    assert found["same"].recurring_elsewhere == 0.0  # both are talks of one case
    assert found["varied"].recurring == 0.0
    assert found["same"].tokens == found["varied"].tokens == 26
    # 10 kinds among 26 tokens, where the first talk has 20 of them.
    assert found["same"].distinct[1] == pytest.approx(10 / 26)
    assert found["varied"].distinct[1] == 1.0


def test_phrases_of_another_case_recur_elsewhere():
    words = "one two three four five six seven"
    found = diversity({"x": [talk(words, "a?"), talk(words, "b?", group="b")]})
    assert found["x"].recurring_elsewhere > 0.5


def test_diversity_of_one_talk_is_refused():
    with pytest.raises(NotEnoughData, match="two talks"):
        diversity({"one": [talk("a", "b")], "two": [talk("a", "b"), talk("c", "d")]})


def test_the_sample_does_not_depend_on_the_order_of_the_talks():
    talks = [talk(f"number {i}", "Why?") for i in range(40)]
    one, other = Sample(7), Sample(7)
    for each in talks:
        one.add(each)
    for each in reversed(talks):
        other.add(each)
    assert one.talks == other.talks
    assert len(one.talks) == 7


def test_a_group_with_too_few_talks_has_no_figures():
    many = [talk(f"number {i} of a longer sentence", "Why is that so?") for i in range(3)]
    found = figures_of({"generated": many, "human": [talk("a", "b")]})
    assert set(found["generated"]) == {"en"}
    assert found["human"] == {}
