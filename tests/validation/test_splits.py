import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from validation.splits import SPLITS, SplitCase, SplitSettings, assign_splits, cases_by_split

names = st.lists(st.text("abcdefgh", min_size=1, max_size=6), unique=True, max_size=60)
shares = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.25, 0.4])
some_settings = st.builds(
    SplitSettings, validation_share=shares, test_share=shares, seed=st.integers(0, 5)
)


def english(every: list[str]) -> list[SplitCase]:
    return [SplitCase(name, "en") for name in every]


@given(names, some_settings)
def test_shares_hold_to_one_case_and_three_cases_fill_every_split(
    every: list[str], settings: SplitSettings
) -> None:
    sizes = Counter(assign_splits(english(every), settings).values())
    assert sum(sizes.values()) == len(every)
    if len(every) < 3:
        assert sizes["train"] == len(every)
        return
    for split, share in (("test", settings.test_share), ("validation", settings.validation_share)):
        assert abs(sizes[split] - share * len(every)) <= 1
        assert (sizes[split] > 0) == (share > 0) or share * len(every) < 1
        assert sizes[split] > 0 or share == 0
    assert sizes["train"] > 0


@given(names.filter(lambda every: len(every) > 3), some_settings)
def test_one_more_case_moves_at_most_one_other_over_each_boundary(
    every: list[str], settings: SplitSettings
) -> None:
    before = assign_splits(english(every[1:]), settings)
    after = assign_splits(english(every), settings)
    moved = [case_id for case_id in before if before[case_id] != after[case_id]]
    assert len(moved) <= 2


@given(names, st.randoms(use_true_random=False))
def test_the_order_of_the_cases_changes_nothing(every: list[str], rng: random.Random) -> None:
    cases = [SplitCase(name, rng.choice(["en", "zh"]), rng.random() < 0.5) for name in every]
    shuffled = rng.sample(cases, len(cases))
    assert assign_splits(cases, SplitSettings()) == assign_splits(shuffled, SplitSettings())


def test_every_language_has_its_share_of_each_split() -> None:
    cases = [SplitCase(f"{la}-{n}", la) for la in ("en", "zh") for n in range(12)]  # type: ignore[arg-type]
    splits = assign_splits(cases, SplitSettings())
    for language in ("en", "zh"):
        sizes = Counter(s for c, s in splits.items() if c.startswith(language))
        assert sizes == {"train": 8, "validation": 2, "test": 2}


def test_complete_cases_fill_every_split_among_many_incomplete_ones() -> None:
    cases = [SplitCase(f"c{n}", "en", complete=n < 10) for n in range(100)]
    splits = assign_splits(cases, SplitSettings())
    sizes = Counter(splits[f"c{n}"] for n in range(10))
    assert sizes == {"train": 7, "validation": 1, "test": 2}
    assert Counter(splits.values()) == {"train": 70, "validation": 10, "test": 20}


def test_held_out_cases_are_in_test_and_count_towards_it() -> None:
    every = [f"c{n}" for n in range(10)]
    settings = SplitSettings(held_out_cases=("c3", "c7", "absent"))
    splits = assign_splits(english(every), settings)
    assert cases_by_split(splits)["test"] == ["c3", "c7"]
    assert Counter(splits.values()) == {"train": 7, "validation": 1, "test": 2}


@given(names, st.data())
def test_held_out_cases_are_always_in_test(every: list[str], data: st.DataObject) -> None:
    held = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    splits = assign_splits(english(every), SplitSettings(held_out_cases=tuple(held)))
    assert all(splits[case_id] == "test" for case_id in held)
    assert set(splits) == set(every)


def test_another_seed_is_another_split() -> None:
    every = english([f"c{n}" for n in range(30)])
    first, second = (assign_splits(every, SplitSettings(seed=seed)) for seed in (0, 1))
    assert first != second


def test_a_case_given_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="'a' given twice"):
        assign_splits([SplitCase("a", "en"), SplitCase("a", "zh")], SplitSettings())


def test_shares_that_leave_no_train_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        SplitSettings(validation_share=0.5, test_share=0.5)


def test_cases_by_split_names_every_split() -> None:
    assert cases_by_split({"b": "train", "a": "train"}) == {
        "train": ["a", "b"],
        "validation": [],
        "test": [],
    }
    assert list(cases_by_split({})) == list(SPLITS)


def test_one_patient_written_in_several_ways_is_in_one_split() -> None:
    ways = [case for n in range(30) for case in (f"P-{n}", f" p-{n}", f"\uff30-{n}")]
    splits = assign_splits(english(ways), SplitSettings())
    assert list(splits) == sorted(ways)
    for n in range(30):
        assert len({splits[f"P-{n}"], splits[f" p-{n}"], splits[f"\uff30-{n}"]}) == 1
    held = SplitSettings(held_out_cases=("p-7",))
    assert assign_splits(english(ways), held)["P-7"] == "test"
