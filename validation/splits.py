"""Which split a case belongs to: train, validation or test, the same for all its records.

The method: within a language, cases stand in the order of a hash of (seed, case_id); the
first stretch is test, the next validation, the rest train, each as long as its share. So
the shares hold to one case, and a case's place depends on nothing but its own name and how
many cases stand before it. Adding a case moves at most one other case over each of the two
boundaries; removing one likewise. Nothing else ever moves, whatever the order of the input.

Cases of which there is every kind of record are a group of their own where they are at
least three, so that each split holds its share of conversations and of preference pairs.

Names that differ in case, width or spaces alone ("P-01", " p-01") are one case: other people's
tables write one patient in several ways.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from validation.schemas import Frozen, Language, NonBlank
from validation.text import normalised

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FEWEST_CASES = 3
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class SplitSettings(Frozen):
    """Shares of cases per language; the rest is train.

    A language with three cases or more has at least one in each split whose share is not
    zero; with fewer, all are train. `held_out_cases` are in test whatever their hash, and
    count towards its share.
    """

    validation_share: Share = 0.1
    test_share: Share = 0.2
    seed: int = 0
    held_out_cases: tuple[NonBlank, ...] = ()

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError(
                f"validation_share {self.validation_share} + test_share {self.test_share} leave "
                "nothing to train on: their sum must be below 1"
            )
        return self


@dataclass(frozen=True)
class SplitCase:
    """A case as the split sees it; `complete`: there is every kind of record of it."""

    case_id: str
    language: Language
    complete: bool = True


def assign_splits(cases: Iterable[SplitCase], settings: SplitSettings) -> dict[str, Split]:
    """The split of each case, by case_id as it was given, in order of case_id.

    Raises ValueError where one case_id stands for two cases.
    """
    given = list(cases)
    names = sorted(case.case_id for case in given)
    if twice := next((one for one, other in pairwise(names) if one == other), None):
        raise ValueError(f"case {twice!r} given twice: name each case once")
    by_name = _assign_names(_one_a_name(given), settings)
    return {name: by_name[normalised(name)] for name in names}


def _one_a_name(cases: list[SplitCase]) -> list[SplitCase]:
    """One case for each evened-out name: the first's language, complete where any is."""
    merged: dict[str, SplitCase] = {}
    for case in sorted(cases, key=lambda case: case.case_id):
        name = normalised(case.case_id)
        earlier = merged.get(name, case)
        complete = earlier.complete or case.complete
        merged[name] = SplitCase(name, earlier.language, complete)
    return list(merged.values())


def _assign_names(cases: list[SplitCase], settings: SplitSettings) -> dict[str, Split]:
    by_language: dict[str, list[SplitCase]] = {}
    for case in cases:
        by_language.setdefault(case.language, []).append(case)
    assigned: dict[str, Split] = {}
    for group in by_language.values():
        complete = [case for case in group if case.complete]
        if len(complete) < FEWEST_CASES:
            assigned |= _assign_group(group, settings, one_in_each=True)
            continue
        others = [case for case in group if not case.complete]
        assigned |= _assign_group(complete, settings, one_in_each=True)
        assigned |= _assign_group(others, settings, one_in_each=False)
    return assigned


def cases_by_split(assigned: Mapping[str, Split]) -> dict[Split, list[str]]:
    """The case_ids of each split, in order."""
    return {split: sorted(c for c, s in assigned.items() if s == split) for split in SPLITS}


def _assign_group(
    cases: list[SplitCase], settings: SplitSettings, one_in_each: bool
) -> dict[str, Split]:
    names = sorted((case.case_id for case in cases), key=lambda name: _rank(name, settings.seed))
    held_out = {normalised(name) for name in settings.held_out_cases}
    held = [name for name in names if name in held_out]
    free = [name for name in names if name not in held_out]
    test, validation = _sizes(len(held), len(free), settings, one_in_each)
    assigned: dict[str, Split] = dict.fromkeys(held, "test")
    assigned |= dict.fromkeys(free[:test], "test")
    assigned |= dict.fromkeys(free[test : test + validation], "validation")
    return assigned | dict.fromkeys(free[test + validation :], "train")


def _sizes(held: int, free: int, settings: SplitSettings, one_in_each: bool) -> tuple[int, int]:
    """How many free cases go to test and to validation; with `one_in_each`, train keeps one."""
    total = held + free
    if one_in_each and total < FEWEST_CASES:
        return 0, 0
    test_least = int(one_in_each and settings.test_share > 0)
    validation_least = int(one_in_each and settings.validation_share > 0)
    most = max(free - one_in_each, 0)
    test = max(_rounded(total * settings.test_share), test_least) - held
    test = min(max(test, 0), max(most - validation_least, 0))
    both_share = settings.test_share + settings.validation_share
    both = max(_rounded(total * both_share), test_least + validation_least) - held
    both = min(max(both, test + validation_least), most)
    return test, max(both - test, 0)


def _rounded(value: float) -> int:
    """Half up: it never falls as the number of cases grows."""
    return int(value + 0.5)


def _rank(case_id: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{case_id}".encode()).hexdigest()
