"""What a flow hands back: the steps it went through, and where the result is."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from tasks.steps import StepReport


class FlowResult(BaseModel):
    """The reports of a flow's steps, in order; the last one is the result.

    `remarks`: what the terminal says at the end beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reports: tuple[StepReport, ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, reports: Sequence[StepReport], remarks: Sequence[str] = ()) -> Self:
        """A result of some steps."""
        return cls(reports=tuple(reports), remarks=tuple(remarks))

    def named(self, name: str) -> StepReport:
        """The report of a step by its name."""
        return next(report for report in self.reports if report.name == name)

    def lines(self) -> list[str]:
        """What the terminal says at the end: cost, and where the last step's files are."""
        last = self.reports[-1]
        spent = sum(report.cost_usd for report in self.reports)
        lines = [f"Answers used cost ${spent:.4f} when they were bought."] if spent else []
        if last.ref.kind == "report":
            verdict = last.summary.get("verdict")
            lines += [str(verdict)] if verdict else []
            return [*lines, f"Report: {last.ref.folder / 'report.html'}"]
        if last.ref.kind == "generation_report":
            dataset = self.named("dataset")
            lines += [f"dataset: {dataset.ref.folder}"]
            return [*lines, f"Report: {last.ref.folder / 'generation.html'}"]
        return [*lines, f"{last.name}: {last.ref.folder}", *self.remarks]
