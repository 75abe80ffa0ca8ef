"""Preference pairs from the doctor's turns of made conversations.

`sampled`: several draws of one turn, ranked by the rubric. `typed_error`: the turn as it
was said, against a rewrite that carries one typed clinical error (chat endpoints only).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, JsonValue

from artifacts.digest import canonical_json, digest_json
from datagen.agents import doctor_view
from datagen.cases import Case
from datagen.scripted import Line
from datagen.speaking import Draw, LineSettings, Speaker
from endpoints.errors import FaultyCompletion
from judging.doctor_turn import DoctorTurn, Topic, judge_doctor_turn
from judging.rubric import Judgement, worst_loss
from judging.wording import count_questions, first_mention, plain_text, similarity
from validation.schemas import (
    Conversation,
    Frozen,
    Language,
    Message,
    NonBlank,
    PreferencePair,
    Quarantined,
)

VERSION = 2
ERRORS_FILE = Path(__file__).with_name("clinical_errors.yaml")
SAME_TEXT = 0.98
# What no margin makes up for: a turn that misses one of these teaches harm where it is chosen.
MUST_HOLD = (
    *("right_language", "one_question", "acts"),
    *("no_repetition", "stays_doctor", "no_invented_finding"),
)
# What is wrong with a rewrite that is no doctor's turn with a clinical error in it.
DEBRIS = {"right_language": "wrong_language", "stays_doctor": "role_swap"}

Method = Literal["sampled", "typed_error"]


class ClinicalError(Frozen):
    """A typed error; `stage` says in which doctor's turns it can occur.

    `after_red_flag`: only where the patient has told a red flag of the case. `asks_nothing`:
    a turn that still asks something does not carry the error.
    """

    name: NonBlank
    stage: Literal["asking", "closing", "any"]
    after_red_flag: bool = False
    asks_nothing: bool = False
    describes: dict[Language, NonBlank]


class PreferenceSettings(Frozen):
    """How pairs are made.

    `methods` None: by the endpoint's style (`sampled` for transcript, both for chat).
    `samples`: draws of one turn, beside the turn as it was said. A pair needs a score of
    `min_chosen` and nothing of `MUST_HOLD` missed for the better one, and `min_margin`
    between the two.
    """

    methods: tuple[Method, ...] | None = None
    turns_per_conversation: Annotated[int, Field(ge=1)] = 2
    samples: Annotated[int, Field(ge=1)] = 4
    min_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    min_chosen: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    line: LineSettings = LineSettings(temperature=1.0)
    seed: int = 0


class Place(Frozen):
    """One doctor's turn of one talk, from which a pair is made by one method."""

    talk: Conversation
    case: Case
    turn: int
    method: Method
    example: tuple[Line, ...] = ()

    @property
    def history(self) -> tuple[Message, ...]:
        """The talk up to the turn."""
        return self.talk.messages[: self.turn]

    @property
    def said(self) -> str:
        """The turn as it was said."""
        return self.talk.messages[self.turn].content

    @property
    def closing(self) -> bool:
        """Whether the turn ends the talk."""
        return self.turn == len(self.talk.messages) - 1


@cache
def read_clinical_errors() -> tuple[ClinicalError, ...]:
    """All typed errors, in the file's order."""
    entries = yaml.safe_load(ERRORS_FILE.read_text(encoding="utf-8"))["errors"]
    return tuple(ClinicalError.model_validate(entry) for entry in entries)


def usable_turns(talk: Conversation, settings: PreferenceSettings) -> tuple[int, ...]:
    """The doctor's turns with a clean talk before them: some of them, drawn by the talk's name.

    In order of place; at most `turns_per_conversation`.
    """
    broken = min(
        (f.message_index for f in talk.faults if f.message_index is not None),
        default=len(talk.messages),
    )
    turns = [i for i, m in enumerate(talk.messages) if m.role == "assistant" and 0 < i <= broken]
    drawn = sorted(turns, key=lambda i: digest_json([settings.seed, talk.record_id, i]))
    return tuple(sorted(drawn[: settings.turns_per_conversation]))


async def make_pair(
    place: Place, settings: PreferenceSettings, speaker: Speaker
) -> PreferencePair | Quarantined:
    """The pair of one place, or why there is none (`tie`, `no_good_answer`, an endpoint's fault).

    Raises the endpoint errors that end a run.
    """
    try:
        if place.method == "sampled":
            return await _sampled(place, settings, speaker)
        return await _typed_error(place, settings, speaker)
    except FaultyCompletion as faulty:
        return _quarantined(place, f"endpoint_{faulty.fault}", str(faulty), ())


async def _sampled(
    place: Place, settings: PreferenceSettings, speaker: Speaker
) -> PreferencePair | Quarantined:
    view = doctor_view(place.case.language, place.history)
    texts = [place.said]
    models: dict[str, None] = {}
    for candidate in range(settings.samples):
        draw = _draw(place, settings, candidate)
        line = settings.line
        spoken = await speaker.doctor_line(view, place.example, place.closing, line, draw)
        texts.append(spoken.text)
        models[spoken.model] = None
    distinct = {plain_text(text): text for text in reversed(texts) if text.strip()}
    ranked = sorted(
        ((judge(place, text), text) for text in distinct.values()),
        key=lambda judged: (-judged[0].total, judged[1]),
    )
    return _rank(place, ranked, settings, models)


def _rank(
    place: Place,
    ranked: list[tuple[Judgement, str]],
    settings: PreferenceSettings,
    models: Mapping[str, None],
) -> PreferencePair | Quarantined:
    """The best that may be chosen against the worst, of candidates in falling order of score."""
    texts = tuple(text for _, text in ranked)
    if len(ranked) < 2:
        return _quarantined(place, "too_few_candidates", "all draws are the same text", texts)
    why_not = [_why_not_chosen(judged, settings) for judged, _ in ranked]
    if "" not in why_not:
        detail = f"of {len(ranked)} candidates the best {why_not[0]}"
        return _quarantined(place, "no_good_answer", detail, texts)
    (best, chosen), (worst, rejected) = ranked[why_not.index("")], ranked[-1]
    margin = round(best.total - worst.total, 6)
    if margin < settings.min_margin:
        detail = f"margin {margin:.3f} is below {settings.min_margin}"
        return _quarantined(place, "tie", detail, texts)
    fault = worst_loss(best, worst).criterion.name
    return _pair(place, chosen, rejected, fault, margin, models)


def _why_not_chosen(judged: Judgement, settings: PreferenceSettings) -> str:
    """Why a candidate may not be a chosen one; empty where it may."""
    for score in judged.scores:
        if score.criterion.name in MUST_HOLD and score.value == 0.0:
            return f"misses {score.criterion.name}: {score.reason}"
    return "" if judged.total >= settings.min_chosen else f"scores {judged.total:.2f}"


async def _typed_error(
    place: Place, settings: PreferenceSettings, speaker: Speaker
) -> PreferencePair | Quarantined:
    chosen = judge(place, place.said)
    found = [f"has the fault {f.name}" for f in place.talk.faults if f.message_index == place.turn]
    if why := next(iter(found), _why_not_chosen(chosen, settings)):
        detail = f"the turn as it was said {why}"
        return _quarantined(place, "no_good_answer", detail, (place.said,))
    error = error_for(place, settings.seed)
    view = doctor_view(place.case.language, place.history)
    describes = error.describes[place.case.language]
    draw = _draw(place, settings, 0)
    spoken = await speaker.flawed_line(view, place.said, describes, settings.line, draw)
    flawed = spoken.text
    if not flawed.strip() or similarity(flawed, place.said) >= SAME_TEXT:
        detail = f"the rewrite with {error.name} is the turn itself"
        return _quarantined(place, "not_rewritten", detail, (place.said, flawed))
    if error.asks_nothing and count_questions(flawed):
        detail = f"the rewrite with {error.name} still asks something"
        return _quarantined(place, "not_rewritten", detail, (place.said, flawed))
    judged = judge(place, flawed)
    lost = {s.criterion.name: s.reason for s in judged.scores if s.value < 1.0}
    for criterion, fault in DEBRIS.items():
        if criterion in lost:
            return _quarantined(place, fault, lost[criterion], (place.said, flawed))
    # Rules see form and topic, not medicine: a flawed turn may score as well as a good one.
    margin = max(0.0, round(chosen.total - judged.total, 6))
    return _pair(place, place.said, flawed, error.name, margin, {spoken.model: None})


def error_for(place: Place, seed: int) -> ClinicalError:
    """The typed error of a place: always the same one, of those that can occur there."""
    stage = "closing" if place.closing else "asking"
    told = _red_flag_told(place)
    fitting = [
        error
        for error in read_clinical_errors()
        if error.stage in (stage, "any") and (told or not error.after_red_flag)
    ]
    name = digest_json(["error", seed, place.talk.record_id, place.turn])
    return fitting[int(name[:8], 16) % len(fitting)]


def _red_flag_told(place: Place) -> bool:
    words = [w for fact in place.case.facts if fact.red_flag for w in fact.reveal_words]
    return any(first_mention(m.content, words) for m in place.history if m.role == "user")


def judge(place: Place, candidate: str) -> Judgement:
    """The rubric's judgement of a candidate for a place; the case stays with the judge."""
    case = place.case
    topics = (
        Topic(
            name=f.fact_id,
            asked_by=f.topic_words,
            told_by=f.reveal_words,
            questions=2 if f.disclosure in ("asked_twice", "concealed") else 1,
        )
        for f in case.facts
    )
    return judge_doctor_turn(
        DoctorTurn(
            language=case.language,
            history=place.history,
            candidate=candidate,
            topics=tuple(topics),
            diagnosis_names=case.diagnosis.names,
            action_words=case.disposition.action_words,
            closing=place.closing,
        )
    )


def _draw(place: Place, settings: PreferenceSettings, candidate: int) -> Draw:
    return Draw(
        seed=settings.seed,
        case_id=place.case.case_id,
        sample_index=place.talk.sample_index,
        turn=place.turn,
        purpose=place.method,
        candidate=candidate,
    )


def _pair(
    place: Place,
    chosen: str,
    rejected: str,
    fault_type: str,
    margin: float,
    models: Mapping[str, None],
) -> PreferencePair:
    return PreferencePair(
        language=place.case.language,
        source=f"{place.method}/{VERSION} {' '.join(models)}",
        case_id=place.case.case_id,
        license=place.case.license,
        prompt=place.history,
        chosen=(Message(role="assistant", content=chosen),),
        rejected=(Message(role="assistant", content=rejected),),
        fault_type=fault_type,
        margin=margin,
    )


def _quarantined(place: Place, fault: str, detail: str, candidates: tuple[str, ...]) -> Quarantined:
    raw: dict[str, JsonValue] = {
        "case_id": place.case.case_id,
        "language": place.case.language,
        "method": place.method,
        "turn": place.turn,
        "prompt": [{"role": m.role, "content": m.content} for m in place.history],
        "candidates": list(candidates),
    }
    origin = f"{place.case.case_id}/{place.talk.sample_index}/{place.turn}"
    return Quarantined(raw=canonical_json(raw), fault=fault, detail=detail, origin=origin)
