"""What a step of generation would take: calls, tokens, money, minutes, before anything is sent.

A step is rehearsed on a few of its rows out of the journal alone, and what their answers took
is carried over to all rows. Where the journal lacks them there is no estimate: a pilot buys them
first. They are part of the run, so that nothing is bought twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.step import Built
from datagen.access import AgentRole, LlmAccess, Transport
from endpoints.errors import EndpointError
from endpoints.offline import NotBought
from endpoints.settings import EndpointSettings, cost_usd

SECONDS_A_MINUTE = 60.0


class NoPilot(EndpointError):
    """The journal holds no answers from which anything could be estimated."""


@dataclass(frozen=True)
class StepEstimate:
    """What `rows` rows of a step would take, carried over from `pilot_rows` of them.

    `kept`: rows that come out. `cost_usd` at the endpoints' present prices; `minutes` at the
    pilot's latency with every slot in use, one row's calls after one another at least (an
    endpoint under load may answer later than the pilot saw).
    """

    step: str
    rows: int
    pilot_rows: int
    kept: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    minutes: float


def rehearse(step: str, suggested_rows: int, build: Callable[[], Built]) -> Built:
    """Build a few rows of a step whose access is offline.

    Raises NoPilot where the journal lacks one of their answers.
    """
    try:
        return build()
    except NotBought as missing:
        raise NoPilot(
            f"the journal lacks answers to the first rows of the step '{step}', so there is "
            f"nothing to estimate from ({missing}). Buy some first: add `--pilot "
            f"{suggested_rows}`. They are part of the run, so nothing is bought twice."
        ) from None


def estimate_step(
    step: str,
    rows: int,
    rehearsed: Built,
    access: LlmAccess,
    roles: Sequence[AgentRole],
) -> StepEstimate:
    """Carry a rehearsal over to all rows. Raises NoPilot where it asked nothing."""
    summary: dict[str, Any] = dict(rehearsed.summary)
    pilot_rows = rehearsed.counts["rows_in"]
    if not roles and pilot_rows:
        return _for_nothing(step, rows, rehearsed)
    if not summary["calls"] or not pilot_rows:
        raise NoPilot(
            f"the pilot of the step '{step}' asked nothing, so nothing can be told of it: give "
            "the pilot more rows (--pilot)"
        )
    endpoints = _endpoints(access, roles)
    times = rows / pilot_rows
    slots = min(sum(endpoints[name].max_in_flight for name in summary["by_endpoint"]), rows)
    row_seconds = summary["latency_seconds"] / pilot_rows
    return StepEstimate(
        step=step,
        rows=rows,
        pilot_rows=pilot_rows,
        kept=round(times * rehearsed.counts["accepted"]),
        calls=round(times * summary["calls"]),
        prompt_tokens=round(times * summary["prompt_tokens"]),
        completion_tokens=round(times * summary["completion_tokens"]),
        cost_usd=times * _cost(summary["by_endpoint"], endpoints, access.transport),
        minutes=max(rows * row_seconds / slots, row_seconds) / SECONDS_A_MINUTE,
    )


def _for_nothing(step: str, rows: int, rehearsed: Built) -> StepEstimate:
    """A step that asks nobody."""
    pilot_rows = rehearsed.counts["rows_in"]
    kept = round(rows / pilot_rows * rehearsed.counts["accepted"])
    return StepEstimate(step, rows, pilot_rows, kept, 0, 0, 0, 0.0, 0.0)


def _endpoints(access: LlmAccess, roles: Sequence[AgentRole]) -> dict[str, EndpointSettings]:
    every = [share.endpoint for role in roles for share in access.shares(role)]
    return {one.name: one for one in [*access.fallbacks, *every]}


def _cost(
    by_endpoint: Mapping[str, Mapping[str, Any]],
    endpoints: Mapping[str, EndpointSettings],
    transport: Transport,
) -> float:
    batch = transport == "batch"
    return sum(
        cost_usd(endpoints[name], part["prompt_tokens"], part["completion_tokens"], batch=batch)
        for name, part in by_endpoint.items()
    )
