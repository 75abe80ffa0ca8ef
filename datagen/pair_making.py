"""One preference pair: its candidates, what judges say of them, and whether it may be kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from artifacts.digest import canonical_json
from datagen.assessment import Assessed, Assessor, JudgementLine
from datagen.candidates import SAID, Candidate, distinct, draw_candidates, rewrite
from datagen.clinical_errors import ClinicalError, error_for, read_clinical_errors
from datagen.preferences import JudgeMode, Place, PreferenceSettings
from datagen.speaking import Speaker
from endpoints.errors import FaultyCompletion
from judging.comparing import Decision
from judging.rubric import Judgement, worst_loss
from judging.wording import similarity
from validation.schemas import Message, PreferencePair, Quarantined

VERSION = 3
SAME_TEXT = 0.98
# What is wrong with a rewrite that is no doctor's turn with a clinical error in it.
DEBRIS = {"right_language": "wrong_language", "stays_doctor": "role_swap"}
MAJORITY = 0.5

Verified = Literal["rule", "judge", "no"]


@dataclass(frozen=True)
class Made:
    """A pair or why there is none, with every judgement that was made for it.

    `tie`: the pair is kept although nothing decides it.
    """

    outcome: PreferencePair | Quarantined
    lines: tuple[JudgementLine, ...] = ()
    tie: bool = False


async def make_pair(
    place: Place, settings: PreferenceSettings, mode: JudgeMode, speaker: Speaker
) -> Made:
    """The pair of one place, or why there is none.

    Faults: `tie`, `judges_disagree`, `no_good_answer`, `not_rewritten`, `error_not_carried`,
    `chosen_carries_error`, `unverified`, an endpoint's. Raises the errors that end a run.
    """
    assessor = Assessor.of(place, settings, mode, speaker.cast)
    work = _Work(place, settings, assessor)
    try:
        if place.method == "typed_error":
            outcome = await work.typed_error(speaker)
        else:
            outcome = await work.ranked(await draw_candidates(place, settings, speaker))
    except FaultyCompletion as faulty:
        outcome = _quarantined(place, f"endpoint_{faulty.fault}", str(faulty), ())
    return Made(outcome, tuple(assessor.lines), work.tie)


@dataclass
class _Work:
    place: Place
    settings: PreferenceSettings
    assessor: Assessor
    tie: bool = False

    async def ranked(self, candidates: Sequence[Candidate]) -> PreferencePair | Quarantined:
        """The best that may be chosen against the worst of the others."""
        place = self.place
        different = distinct(candidates)
        texts = tuple(sorted(one.text for one in different))
        if len(different) < 2:
            return _quarantined(place, "too_few_candidates", "all draws are the same text", texts)
        assessed = [await self.assessor.assess(candidate) for candidate in different]
        assessed.sort(key=lambda one: (-one.judgement.total, one.candidate.text))
        why_not = [self._why_not_chosen(one.judgement) for one in assessed]
        if "" not in why_not:
            detail = f"of {len(assessed)} candidates the best {why_not[0]}"
            return _quarantined(place, "no_good_answer", detail, texts)
        best = assessed.pop(why_not.index(""))
        worst = assessed[-1]
        margin = round(best.judgement.total - worst.judgement.total, 6)
        if margin < self.settings.min_margin:
            detail = f"margin {margin:.3f} is below {self.settings.min_margin}"
            if self.settings.ties == "drop" or margin < 0.0:
                return _quarantined(place, "tie", detail, texts)
            self.tie = True
        lost = worst_loss(best.judgement, worst.judgement).criterion
        models = [one.model for one in candidates if one.model]
        return await self._decided(best, worst, lost.name, margin, lost.grader, models)

    async def typed_error(self, speaker: Speaker) -> PreferencePair | Quarantined:
        """The turn as it was said against a rewrite of it."""
        place, said = self.place, Candidate(SAID, self.place.said)
        faults = [f.name for f in place.talk.faults if f.message_index == place.turn]
        why = f"has the fault {faults[0]}" if faults else ""
        if not why and self.assessor.mode != "llm":
            why = self._why_not_chosen(self.assessor.by_rules(said))
        if why:
            detail = f"the turn as it was said {why}"
            return _quarantined(place, "no_good_answer", detail, (said.text,))
        error = error_for(place, self.settings.seed)
        flawed = await rewrite(place, error, self.settings, speaker)
        found = error.carried(place, flawed.text, said.text) if flawed.text.strip() else None
        if failed := self._not_rewritten(error, said, flawed, found):
            return failed
        good = await self.assessor.assess(said)
        bad = await self.assessor.assess(flawed, error, found)
        verified = self._verified(error, good, bad, found)
        if isinstance(verified, Quarantined):
            return verified
        if why := self._why_not_chosen(good.judgement):
            detail = f"the turn as it was said {why}"
            return _quarantined(place, "no_good_answer", detail, (said.text, flawed.text))
        # Rules see form and topic, not medicine: a flawed turn may score as well as a good one.
        margin = max(0.0, round(good.judgement.total - bad.judgement.total, 6))
        return await self._decided(good, bad, error.name, margin, verified, [flawed.model])

    def _not_rewritten(
        self, error: ClinicalError, said: Candidate, flawed: Candidate, found: bool | None
    ) -> Quarantined | None:
        """What is wrong with a rewrite, as far as that can be told without a judge."""
        texts = (said.text, flawed.text)
        if not flawed.text.strip() or similarity(flawed.text, said.text) >= SAME_TEXT:
            detail = f"the rewrite with {error.name} is the turn itself"
            return _quarantined(self.place, "not_rewritten", detail, texts)
        lost = {s.criterion.name: s for s in self.assessor.by_rules(flawed).scores if s.lost}
        for criterion, fault in DEBRIS.items():
            if criterion in lost:
                return _quarantined(self.place, fault, lost[criterion].reason, texts)
        if found is False:
            detail = f"a rule does not find {error.name} in the rewrite"
            return _quarantined(self.place, "error_not_carried", detail, texts)
        return None

    def _verified(
        self, error: ClinicalError, good: Assessed, bad: Assessed, found: bool | None
    ) -> Verified | Quarantined:
        """Who confirms that the bad one carries the error and the good one does not."""
        place, texts = self.place, (good.candidate.text, bad.candidate.text)
        cleared = error.carried(place, good.candidate.text) is False
        for other in read_clinical_errors():
            named = good.share_naming(other.name) or 0.0
            the_same = other.name == error.name and not cleared
            if named > MAJORITY and (other.harmful or the_same):
                detail = f"{named:.0%} of the judges find {other.name} in the turn as it was said"
                return _quarantined(place, "chosen_carries_error", detail, texts)
        if found:
            return "rule"
        share = bad.share_naming(error.name)
        if share is not None and share > MAJORITY:
            return "judge"
        if share is not None and share < MAJORITY:
            detail = f"{share:.0%} of the judges find {error.name} in the rewrite"
            return _quarantined(place, "error_not_carried", detail, texts)
        strict = {"keep": False, "quarantine": True, "by_judge": share is not None}
        if strict[self.settings.unverified]:
            why = "no rule can tell it" if share is None else "the judges are divided"
            detail = f"whether the rewrite carries {error.name} is open: {why}"
            return _quarantined(place, "unverified", detail, texts)
        return "no"

    async def _decided(
        self,
        best: Assessed,
        worst: Assessed,
        fault_type: str,
        margin: float,
        verified: Verified,
        models: Sequence[str],
    ) -> PreferencePair | Quarantined:
        """The pair, unless the judges see it otherwise in both orders."""
        chosen, rejected = best.candidate, worst.candidate
        decision = await self.assessor.compare(chosen, rejected)
        texts = (chosen.text, rejected.text)
        if decision is not None and decision.winner == "other":
            detail = f"{decision.prefer_other:.0%} of the judges prefer the other answer"
            return _quarantined(self.place, "judges_disagree", detail, texts)
        if decision is not None and decision.winner == "tie":
            detail = f"a tie in both orders; flip rate {decision.flip_rate:.2f}"
            if self.settings.ties == "drop":
                return _quarantined(self.place, "tie", detail, texts)
            self.tie = True
        return self._pair(chosen, rejected, fault_type, margin, verified, decision, models)

    def _pair(
        self,
        chosen: Candidate,
        rejected: Candidate,
        fault_type: str,
        margin: float,
        verified: Verified,
        decision: Decision | None,
        models: Sequence[str],
    ) -> PreferencePair:
        place = self.place
        return PreferencePair(
            language=place.case.language,
            source=" ".join([f"{place.method}/{VERSION}", *dict.fromkeys(models)]),
            case_id=place.case.case_id,
            license=place.case.license,
            prompt=place.history,
            chosen=(Message(role="assistant", content=chosen.text),),
            rejected=(Message(role="assistant", content=rejected.text),),
            fault_type=fault_type,
            margin=margin,
            agreement=decision.prefer_one if decision else 1.0,
            judges=tuple(judge.name for judge in self.assessor.panel),
            flip_rate=decision.flip_rate if decision else None,
            length_difference=len(chosen.text) - len(rejected.text),
            verified=verified,
        )

    def _why_not_chosen(self, judged: Judgement) -> str:
        """Why a candidate may not be a chosen one; empty where it may."""
        for score in judged.scores:
            if score.criterion.must_hold and not score.holds:
                missed = "misses" if score.criterion.weight > 0 else "is"
                return f"{missed} {score.criterion.name}: {score.reason}"
        low = judged.total < self.settings.min_chosen
        return f"scores {judged.total:.2f}" if low else ""


def _quarantined(place: Place, fault: str, detail: str, candidates: tuple[str, ...]) -> Quarantined:
    raw: dict[str, JsonValue] = {
        "case_id": place.case.case_id,
        "language": place.case.language,
        "method": place.method,
        "turn": place.turn,
        "prompt": [{"role": m.role, "content": m.content} for m in place.history],
        "candidates": list(candidates),
    }
    return Quarantined(raw=canonical_json(raw), fault=fault, detail=detail, origin=place.origin)
