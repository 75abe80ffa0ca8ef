"""What rules and judge models say of the candidates of one turn, and a line for each judgement."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from datagen.access import Cast, LlmAccess
from datagen.candidates import Candidate
from datagen.clinical_errors import ClinicalError, read_clinical_errors
from datagen.error_rules import Carried, doctor_turn
from datagen.preferences import JudgeMode, Place, PreferenceSettings
from endpoints.errors import ConfigurationError
from judging.comparing import Comparison, Decision, Winner, compare_by_all, decide
from judging.doctor_turn import judge_doctor_turn
from judging.grading import Grade, grade_by_all
from judging.panel import Context, Judge, PermittedDose, Reference, check_panel, panel_of
from judging.rubric import Judgement, Rubric, averaged, joined
from judging.rubric_files import read_rubric
from validation.schemas import Frozen, Language, Message, NonBlank

RULE_JUDGE = "rules"


class JudgementLine(Frozen):
    """One judgement: a candidate's scores, or a comparison of two in one order.

    `order`: which of the two the judge saw first. `errors`: the types it named, None where it
    was not asked for any. `carries`: the typed error that the candidate was written to carry;
    `carries_by_rule`: whether a rule finds it there.
    """

    kind: Literal["grade", "comparison"]
    origin: NonBlank
    method: NonBlank
    case_id: NonBlank
    language: Language
    judge: NonBlank
    candidate: NonBlank
    characters: int
    scores: dict[str, float] = Field(default_factory=dict)
    total: float | None = None
    errors: tuple[str, ...] | None = None
    carries: str = ""
    carries_by_rule: bool | None = None
    against: str = ""
    against_characters: int = 0
    order: Literal["", "candidate_first", "against_first"] = ""
    verdict: Literal["", "candidate", "against", "tie"] = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assessed:
    """A candidate with its judgement (by the mode) and what judges say of errors in it."""

    candidate: Candidate
    judgement: Judgement
    grades: tuple[Grade, ...] = ()

    def share_naming(self, error: str) -> float | None:
        """The share of judges that found the error; None where there are none."""
        if not self.grades:
            return None
        return sum(error in grade.errors for grade in self.grades) / len(self.grades)


def judge_mode(settings: PreferenceSettings, access: LlmAccess) -> JudgeMode:
    """Who judges.

    Raises ConfigurationError where a judge endpoint cannot, JudgeError where there are too few.
    """
    if settings.judge == "rules":
        return "rules"
    if settings.judge is None and "judge" not in access.roles:
        return "rules"
    for share in access.shares("judge"):
        if share.endpoint.style != "chat":
            raise ConfigurationError(
                f"endpoint '{share.endpoint.name}' has the style '{share.endpoint.style}', and a "
                "judge must be able to chat. Name a chat endpoint for the role 'judge', or set "
                "`preferences.judge: rules`."
            )
    check_panel(len(access.shares("judge")), settings.judges)
    return settings.judge or "both"


@dataclass
class Assessor:
    """The judges of one place; every judgement of theirs leaves a line."""

    place: Place
    mode: JudgeMode
    rubric: Rubric
    panel: tuple[Judge, ...]
    lines: list[JudgementLine] = field(default_factory=list)

    @classmethod
    def of(
        cls, place: Place, settings: PreferenceSettings, mode: JudgeMode, cast: Cast
    ) -> "Assessor":
        """The judges of a place. Raises JudgeError where the panel cannot be made."""
        panel: tuple[Judge, ...] = ()
        if mode != "rules":
            panel = panel_of(cast.pool("judge"), settings.judges, place.origin)
        return cls(place, mode, read_rubric(settings.rubric), panel)

    def by_rules(self, candidate: Candidate) -> Judgement:
        """What the rules say of a candidate, without a line."""
        return judge_doctor_turn(doctor_turn(self.place, candidate.text))

    async def assess(
        self, candidate: Candidate, carries: ClinicalError | None = None, found: Carried = None
    ) -> Assessed:
        """A candidate's judgement by the mode; judges are asked for typed errors as well.

        `carries` is the error that it was written to carry, `found` what its rule says. Raises
        FaultyCompletion and what ends a run.
        """
        parts = []
        if self.mode != "llm":
            parts.append(self.by_rules(candidate))
            self.lines.append(self._graded(candidate, RULE_JUDGE, parts[0], None, carries, found))
        if not self.panel:
            return Assessed(candidate, parts[0])
        answer = (Message(role="assistant", content=candidate.text),)
        types = [error.type for error in read_clinical_errors()]
        grades = await grade_by_all(self.panel, self.rubric, self._context(), answer, types)
        for one in grades:
            line = self._graded(candidate, one.judge, one.judgement, one.errors, carries, found)
            self.lines.append(line)
        parts.append(averaged(tuple(one.judgement for one in grades)))
        return Assessed(candidate, joined(*parts), grades)

    async def compare(self, chosen: Candidate, rejected: Candidate) -> Decision | None:
        """What the judges decide, `one` being the chosen; None where there are no judges.

        Raises FaultyCompletion and what ends a run.
        """
        if not self.panel:
            return None
        one, other = (
            (Message(role="assistant", content=text),) for text in (chosen.text, rejected.text)
        )
        comparisons = await compare_by_all(self.panel, self.rubric, self._context(), one, other)
        for comparison in comparisons:
            self.lines += self._compared(chosen, rejected, comparison)
        return decide(comparisons)

    def _graded(
        self,
        candidate: Candidate,
        judge: str,
        judgement: Judgement,
        errors: Sequence[str] | None,
        carries: ClinicalError | None,
        found: Carried,
    ) -> JudgementLine:
        return JudgementLine(
            kind="grade",
            judge=judge,
            scores={score.criterion.name: score.value for score in judgement.scores},
            total=round(judgement.total, 6),
            errors=None if errors is None else tuple(errors),
            carries=carries.name if carries else "",
            carries_by_rule=found,
            reasons=tuple(score.reason for score in judgement.scores if score.reason),
            **self._place_of(candidate),
        )

    def _compared(
        self, chosen: Candidate, rejected: Candidate, comparison: Comparison
    ) -> list[JudgementLine]:
        told: dict[Winner, Literal["candidate", "against", "tie"]]
        told = {"one": "candidate", "other": "against", "tie": "tie"}
        orders: tuple[tuple[Literal["candidate_first", "against_first"], Winner], ...] = (
            ("candidate_first", comparison.one_first),
            ("against_first", comparison.other_first),
        )
        return [
            JudgementLine(
                kind="comparison",
                judge=comparison.judge,
                against=rejected.label,
                against_characters=len(rejected.text),
                order=order,
                verdict=told[winner],
                reasons=(reason,),
                **self._place_of(chosen),
            )
            for (order, winner), reason in zip(orders, comparison.reasons, strict=True)
        ]

    def _place_of(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "origin": self.place.origin,
            "method": self.place.method,
            "case_id": self.place.case.case_id,
            "language": self.place.case.language,
            "candidate": candidate.label,
            "characters": len(candidate.text),
        }

    def _context(self) -> Context:
        case = self.place.case
        return Context(
            language=case.language,
            talk=self.place.history,
            reference=Reference(
                diagnosis=case.diagnosis.name,
                urgency=case.disposition.urgency,
                red_flags=tuple(fact.statement for fact in case.facts if fact.red_flag),
                contraindications=case.contraindications,
                treatments=tuple(
                    PermittedDose(
                        drug=one.drug,
                        least_dose=one.least_dose,
                        most_dose=one.most_dose,
                        most_a_day=one.most_a_day,
                        unit=one.unit,
                    )
                    for one in case.treatments
                ),
                advice=case.disposition.advice,
            ),
        )
