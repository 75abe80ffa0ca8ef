"""The sentences that end a run: what happened, where, and what to do next."""

import difflib

from endpoints.errors import (
    CircuitOpen,
    EndpointDown,
    EndpointError,
    FaultName,
    KeyRefused,
    ModelUnknown,
    QuotaExhausted,
)
from endpoints.settings import EndpointSettings, variable_name

MOST_MODELS_SHOWN = 20


def given_up(
    settings: EndpointSettings, fault: FaultName, detail: str, reached: bool
) -> EndpointDown:
    """The error for an endpoint that has failed for too long; `fault` is the last one."""
    if fault == "rate_limit":
        return CircuitOpen(
            f"{_place(settings)} refuses every request by its rate limit ({detail}). Wait until "
            "the limit's window is over, or lower max_in_flight in endpoints.yaml, then run the "
            "same command: it goes on, and nothing is bought twice."
        )
    if fault == "timeout":
        return EndpointDown(
            f"{_place(settings)} takes requests and does not answer them: {detail}. Look whether "
            "it is overloaded or stuck, or raise timeout_seconds in endpoints.yaml, then run the "
            "same command: it goes on, and nothing is bought twice."
        )
    return down(settings, detail, reached)


def down(settings: EndpointSettings, detail: str, reached: bool) -> EndpointDown:
    """The endpoint does not answer, or with nothing but faults."""
    if reached:
        return CircuitOpen(
            f"{_place(settings)} answers with faults alone; the last was: {detail}. Look at its "
            "own log or status page, and whether base_url is right (most end in /v1), then run the "
            "same command: it goes on, and nothing is bought twice."
        )
    return EndpointDown(
        f"{_place(settings)} does not answer: {detail}. Start it, or correct base_url in "
        f"endpoints.yaml (or ${_override(settings)}_BASE_URL), then run the same command: it goes "
        "on, and nothing is bought twice. The endpoint 'embedded' needs no server."
    )


def model_unknown(
    settings: EndpointSettings, models: tuple[str, ...], detail: str = ""
) -> ModelUnknown:
    """The endpoint lacks the model; `models` are those that it lists (may be empty)."""
    shown = ", ".join(models[:MOST_MODELS_SHOWN]) + (
        ", …" if len(models) > MOST_MODELS_SHOWN else ""
    )
    close = difflib.get_close_matches(settings.model, models, n=1)
    nearest = f" (did you mean '{close[0]}'?)" if close else ""
    there = f"Its models: {shown}." if models else "It lists no models; base_url must end in /v1."
    said = f" ({detail})" if detail else ""
    return ModelUnknown(
        f"{_place(settings)} does not serve the model '{settings.model}'{nearest}{said}. {there} "
        f"Correct `model` in endpoints.yaml, or set ${_override(settings)}_MODEL."
    )


def stop(
    settings: EndpointSettings, fault: FaultName, detail: str, models: tuple[str, ...]
) -> EndpointError:
    """The error for a fault after which no request of this endpoint can succeed."""
    if fault == "model_unknown":
        return model_unknown(settings, models, detail)
    if fault == "quota":
        return QuotaExhausted(
            f"the account at {_place(settings)} has no quota left ({detail}). Top it up, or choose "
            "another endpoint, then run the same command: it goes on, and nothing is bought twice."
        )
    if settings.key_variable is None:
        return KeyRefused(
            f"{_place(settings)} wants a key ({detail}) and none is configured. Add `key_variable: "
            "NAME_OF_A_VARIABLE` to its entry in endpoints.yaml and put the key into that variable."
        )
    return KeyRefused(
        f"{_place(settings)} refused the key in ${settings.key_variable} ({detail}). Set the "
        "variable to a valid key, or run with the endpoint 'embedded', which needs none."
    )


def _place(settings: EndpointSettings) -> str:
    return f"endpoint '{settings.name}' at {settings.base_url}"


def _override(settings: EndpointSettings) -> str:
    return f"MEDFACTORY_ENDPOINT_{variable_name(settings.name)}"
