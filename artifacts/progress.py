"""How far a step is: the value that long work reports and terminals and pages show."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units (`total` 0: unknown), what it cost so far, and a short note."""

    done: int
    total: int
    unit: str
    cost_usd: float = 0.0
    note: str = ""


ProgressSink = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A sink that shows nothing."""
