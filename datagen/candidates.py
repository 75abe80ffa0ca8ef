"""Candidates of a turn: draws of the doctor's models, and rewrites that carry an error."""

from collections.abc import Sequence
from dataclasses import dataclass

from datagen.access import LlmAccess
from datagen.agents import doctor_view
from datagen.clinical_errors import ClinicalError, shown_to_writer
from datagen.preferences import Place, PreferenceSettings
from datagen.prompting import read_prompt, render
from datagen.speaking import Speaker, up_to_last_sentence
from endpoints.errors import ConfigurationError, FaultyCompletion
from endpoints.request import ChatMessage, ChatRequest, Sampling
from endpoints.settings import EndpointSettings
from judging.wording import plain_text

SAID = "said"


@dataclass(frozen=True)
class Candidate:
    """A text for a turn, what it is called, and the model that wrote it ("" for the talk's)."""

    label: str
    text: str
    model: str = ""


async def draw_candidates(
    place: Place, settings: PreferenceSettings, speaker: Speaker
) -> tuple[Candidate, ...]:
    """Draws of one turn, before them the turn as it was said (not for `on_policy`).

    Raises FaultyCompletion and what ends a run.
    """
    view = doctor_view(place.case.language, place.history)
    drawn = [] if place.method == "on_policy" else [Candidate(SAID, place.said)]
    for number in range(settings.samples):
        spoken = await speaker.doctor_line(
            view, place.example, place.closing, settings.line, place.draw(settings.seed, number)
        )
        drawn.append(Candidate(f"sample {number}", spoken.text, spoken.model))
    return tuple(drawn)


def check_policy(settings: PreferenceSettings, access: LlmAccess) -> None:
    """Raises ConfigurationError where `on_policy` would draw from more than one model."""
    endpoints = [share.endpoint for share in access.shares("doctor")] + list(access.fallbacks)
    names = list(dict.fromkeys(one.name for one in endpoints))
    if "on_policy" in (settings.methods or ()) and len(names) > 1:
        raise ConfigurationError(
            f"the method on_policy takes all candidates from the model itself, and the role "
            f"'doctor' may be answered by {len(names)} endpoints ({', '.join(names)}). Name one "
            "endpoint for the role 'doctor', and no fallbacks."
        )


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates without blank ones and without a text that stands there already."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.text.strip():
            first.setdefault(plain_text(candidate.text), candidate)
    return list(first.values())


async def rewrite(
    place: Place, error: ClinicalError, settings: PreferenceSettings, speaker: Speaker
) -> Candidate:
    """The turn as it was said, rewritten by the role `teacher` so that it carries an error.

    Raises FaultyCompletion and what ends a run.
    """
    language, draw = place.case.language, place.draw(settings.seed, 0)
    text = render(
        read_prompt(language, "chat", "error"),
        talk=place.history,
        good=place.said,
        error=error.writes[language],
        keeps_length=error.keeps_length,
        shown=shown_to_writer(error, place),
    )
    sampling = Sampling(**settings.line.model_dump(), seed=draw.number)

    def ask(endpoint: EndpointSettings) -> ChatRequest:
        return ChatRequest(
            model=endpoint.model,
            revision=endpoint.revision,
            messages=(ChatMessage(role="user", content=text),),
            sampling=sampling,
        )

    try:
        answered = await speaker.cast.pool("teacher").complete(ask, draw.spread)
    except FaultyCompletion as faulty:
        # A rewrite that was cut off still carries its error up to its last whole sentence.
        if faulty.fault != "truncated" or faulty.completion is None:
            raise
        if not faulty.completion.text.strip():
            raise
        told = up_to_last_sentence(" ".join(faulty.completion.text.split()))
        return Candidate("rewrite", told, faulty.model)
    told = " ".join(answered.completion.text.split())
    return Candidate("rewrite", told, answered.endpoint.model)
