"""The order in which rows are trained on: worked out before training, from the seed alone.

The trainer then walks it from front to back, so that a resumed run meets the same batches.
"""

import random
from collections.abc import Sequence
from itertools import accumulate

POOL_BATCHES = 16


def row_order(lengths: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[int]:
    """Row numbers for `epochs` passes, rows alike in length together in a batch.

    lengths: tokens of each row. Every row comes once an epoch. Within an epoch, rows are
    shuffled, sorted by length within pools of 16 batches, and the batches shuffled again.
    Rows that fill no batch are carried into the first batch of the next epoch, so that only
    the very last batch may be short.
    """
    order: list[int] = []
    carried: list[int] = []
    for epoch in range(epochs):
        draw = random.Random(f"{seed}-{epoch}")
        rows = list(range(len(lengths)))
        draw.shuffle(rows)
        if carried:
            others = [row for row in rows if row not in carried]
            filling = others[: batch_size - len(carried)]
            order += [*carried, *filling]
            rows = [row for row in rows if row not in filling]
        full, carried = _batches(rows, lengths, batch_size)
        draw.shuffle(full)
        order += [row for batch in full for row in batch]
    return order + carried


def _batches(
    rows: list[int], lengths: Sequence[int], batch_size: int
) -> tuple[list[list[int]], list[int]]:
    """Full batches of rows alike in length, and the rows that are left."""
    whole = len(rows) - len(rows) % batch_size
    pool = batch_size * POOL_BATCHES
    full = []
    for start in range(0, whole, pool):
        alike = sorted(rows[start : min(start + pool, whole)], key=lambda row: -lengths[row])
        full += [alike[i : i + batch_size] for i in range(0, len(alike), batch_size)]
    return full, rows[whole:]


def step_count(rows: int, rows_a_step: int) -> int:
    """Optimizer steps for so many rows, a last one that is not full included."""
    return -(-rows // rows_a_step)


def tokens_by_step(tokens: Sequence[int], rows_a_step: int, steps: int) -> list[int]:
    """Tokens seen after each step; `tokens` are those of the rows in training order."""
    seen = list(accumulate(tokens))
    return [seen[min((step + 1) * rows_a_step, len(seen)) - 1] for step in range(steps)]
