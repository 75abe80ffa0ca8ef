"""Cases that say again what another says: by opening, by diagnosis in one cell, by facts."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from datagen.cases import Case
from datagen.grid import cell_of
from judging.wording import alike
from validation.schemas import Frozen
from validation.text import normalised

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class DuplicateSettings(Frozen):
    """From which similarity on (0 to 1, over characters) two texts count as the same.

    `facts_share`: the share of a case's facts that another of its specialty or diagnosis may
    have before it is a duplicate.
    """

    opening: Share = 0.8
    fact: Share = 0.8
    facts_share: Share = 0.5


class KnownCases:
    """The cases that are there, asked for one that a new case repeats."""

    def __init__(self, cases: Iterable[Case], settings: DuplicateSettings) -> None:
        self._settings = settings
        self._cases: list[Case] = []
        for case in cases:
            self.add(case)

    def add(self, case: Case) -> None:
        """One more is there."""
        self._cases.append(case)

    def repeated_by(self, new: Case) -> str | None:
        """What the new case repeats, for people; None where it is new."""
        for known in self._cases:
            if known.language == new.language and (what := self._likeness(known, new)):
                return f"{what} of {known.case_id}"
        return None

    def _likeness(self, known: Case, new: Case) -> str | None:
        if alike(known.opening, new.opening, self._settings.opening):
            return "the opening"
        same_diagnosis = bool(_names(known) & _names(new))
        if same_diagnosis and cell_of(known) == cell_of(new):
            return "the diagnosis in the same cell"
        if not same_diagnosis and known.specialty != new.specialty:
            return None
        statements = [fact.statement for fact in known.facts]
        repeated = sum(
            any(alike(fact.statement, other, self._settings.fact) for other in statements)
            for fact in new.facts
        )
        return "the facts" if repeated / len(new.facts) >= self._settings.facts_share else None


def _names(case: Case) -> set[str]:
    return {normalised(name) for name in (case.diagnosis.name, *case.diagnosis.names)}
