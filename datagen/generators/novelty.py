"""Near-duplicates among many texts: word triples, compared by Jaccard, found by MinHash.

Broder 1997 (resemblance by shingles); bands as in Leskovec, Rajaraman and Ullman 2014, §3.4.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from validation.text import TOKEN, normalised

SHINGLE_TOKENS = 3
PRIME = (1 << 61) - 1
# 24 bands of 3: a pair as alike as 0.5 shares a band with a chance of 96 %, one of 0.6 of 99.7 %.
BANDS = 24
ROWS_PER_BAND = 3
_DICE = np.random.Generator(np.random.PCG64(20261125))
FACTORS = _DICE.integers(1, 1 << 31, size=(BANDS * ROWS_PER_BAND, 1), dtype=np.uint64)
SHIFTS = _DICE.integers(0, 1 << 61, size=(BANDS * ROWS_PER_BAND, 1), dtype=np.uint64)

Shingles = NDArray[np.uint64]


def shingles(text: str) -> Shingles:
    """The distinct triples of words (Chinese: characters) of a text, as sorted hashes.

    Fewer than three tokens make one shingle of their own.
    """
    tokens = TOKEN.findall(normalised(text))
    last = max(1, len(tokens) - SHINGLE_TOKENS + 1)
    grams = {" ".join(tokens[i : i + SHINGLE_TOKENS]) for i in range(last)}
    return np.array(sorted({zlib.crc32(g.encode()) for g in grams}), dtype=np.uint64)


def jaccard(one: Shingles, other: Shingles) -> float:
    """The share of shingles that stand in both, of those that stand in either."""
    both = np.intersect1d(one, other, assume_unique=True).size
    return float(both / (one.size + other.size - both))


class Novelty:
    """Remembers texts by name, and says which earlier one a new text resembles."""

    def __init__(self, most_alike: float) -> None:
        self.most_alike = most_alike
        self._names: list[str] = []
        self._shingles: list[Shingles] = []
        self._bands: dict[bytes, list[int]] = {}

    def nearest(self, text: str) -> tuple[str, float] | None:
        """The name of the most alike earlier text and how alike, where that is too much.

        Exact copies (but for case, width and spaces) are always too much.
        """
        here = shingles(text)
        near = sorted({place for band in _bands(here) for place in self._bands.get(band, ())})
        found = [(jaccard(here, self._shingles[place]), place) for place in near]
        if not found:
            return None
        alike, place = max(found, key=lambda pair: (pair[0], -pair[1]))
        too_much = alike > self.most_alike or alike == 1.0
        return (self._names[place], alike) if too_much else None

    def remember(self, text: str, name: str) -> None:
        """Take a text in."""
        here = shingles(text)
        place = len(self._names)
        self._names.append(name)
        self._shingles.append(here)
        for band in _bands(here):
            self._bands.setdefault(band, []).append(place)


def _bands(here: Shingles) -> list[bytes]:
    mixed = (FACTORS * here[np.newaxis, :] + SHIFTS) % np.uint64(PRIME)
    least = mixed.min(axis=1).reshape(BANDS, ROWS_PER_BAND)
    return [bytes([band]) + row.tobytes() for band, row in enumerate(least)]
