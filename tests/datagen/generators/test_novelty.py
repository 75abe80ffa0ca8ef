import random

from datagen.generators.novelty import Novelty, jaccard, shingles

WORDS = [f"word{i}" for i in range(500)]


def text(dice, words=40):
    return " ".join(dice.choice(WORDS) for _ in range(words))


def test_jaccard_is_the_share_of_common_triples():
    assert jaccard(shingles("a b c d"), shingles("a b c e")) == 1 / 3
    assert jaccard(shingles("头疼发烧"), shingles("头疼发热")) == 1 / 3


def test_a_copy_that_differs_in_case_and_width_is_found():
    seen = Novelty(most_alike=1.0)
    seen.remember("How much Paracetamol may I take?", "first")
    assert seen.nearest("how much ｐaracetamol may  i take") == ("first", 1.0)


def test_near_duplicates_are_found_among_a_thousand_texts_and_others_are_not():
    dice, seen = random.Random(7), Novelty(most_alike=0.6)
    texts = [text(dice) for _ in range(1000)]
    for number, one in enumerate(texts):
        assert seen.nearest(one) is None
        seen.remember(one, str(number))
    found = 0
    for number in range(0, 1000, 10):
        words = texts[number].split()
        words[20] = "changed"  # 35 of 41 triples stay: Jaccard 0.85
        near = seen.nearest(" ".join(words))
        found += near is not None and near[0] == str(number)
    assert found >= 99
