"""Pairs in balance of length: neither long nor short chosen answers may be too many."""

import heapq
from collections.abc import Iterable

from validation.schemas import PreferencePair


def too_many(pairs: Iterable[PreferencePair], most: float) -> frozenset[str]:
    """The record_ids of the pairs that must go so that neither side is more than `most`.

    Sides are the pairs whose chosen answer is the longer, and the shorter one. Which of the
    larger side go is drawn by their names, whatever their length. Holds names alone in memory.
    """
    longer: list[str] = []
    shorter: list[str] = []
    for pair in pairs:
        if pair.length_difference:
            (longer if pair.length_difference > 0 else shorter).append(pair.record_id)
    small, large = sorted((longer, shorter), key=len)
    may_stay = int(most / (1 - most) * len(small) + 1e-9)
    return frozenset(heapq.nlargest(len(large) - may_stay, large))
