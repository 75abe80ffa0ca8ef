"""One request on its way to an answer, and the row that the answer becomes."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from endpoints.answers import Answer
from endpoints.errors import FaultName, FaultyCompletion
from endpoints.faults import POLICIES
from endpoints.journal import Entry, now
from endpoints.request import ChatRequest, Completion


@dataclass
class Purchase:
    """A request in flight: how many callers wait for it, and what happened to it so far.

    `sent`: it may be billed now, so it is not cut off. `draws`: answers that could not be used.
    """

    request: ChatRequest
    task: asyncio.Task[Completion] | None = None
    waiters: int = 0
    sent: bool = False
    attempts: int = 0
    draws: int = 0
    cost_usd: float = 0.0
    met: Counter[FaultName] = field(default_factory=Counter)

    def resume(self, entry: Entry) -> None:
        """Go on from a faulty answer that was bought earlier."""
        self.attempts, self.draws = entry.attempts, entry.draws
        self.cost_usd = entry.cost_usd

    def entry(self, answer: Answer, latency_seconds: float, endpoint: str) -> Entry:
        """The journal's row for an answer; costs and attempts are those of all attempts."""
        return Entry(
            digest=self.request.digest,
            request=self.request.canonical,
            text=answer.text,
            reasoning=answer.reasoning,
            finish_reason=answer.finish_reason,
            fault=answer.fault,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cost_usd=self.cost_usd,
            latency_seconds=latency_seconds,
            attempts=self.attempts,
            endpoint=endpoint,
            created_at=now(),
            draws=self.draws,
        )


def is_final(fault: FaultName | None, draws: int, max_attempts: int) -> bool:
    """Whether an answer is the last word on its request: a good one, or no draw is left.

    `max_attempts`: the endpoint's, for faults that leave their number to it.
    """
    return fault is None or draws >= (POLICIES[fault].attempts or max_attempts)


def deliver(entry: Entry, from_journal: bool) -> Completion:
    """A row as the caller gets it. Raises FaultyCompletion where its text cannot be used."""
    completion = Completion(
        text=entry.text,
        finish_reason=entry.finish_reason,
        prompt_tokens=entry.prompt_tokens,
        completion_tokens=entry.completion_tokens,
        cost_usd=entry.cost_usd,
        latency_seconds=entry.latency_seconds,
        attempts=entry.attempts,
        endpoint=entry.endpoint,
        from_journal=from_journal,
        reasoning=entry.reasoning,
    )
    if entry.fault is None:
        return completion
    raise FaultyCompletion(
        f"endpoint '{entry.endpoint}' answered, but the answer is {entry.fault} "
        f"(finish_reason {entry.finish_reason}, {entry.completion_tokens} tokens, "
        f"{entry.attempts} attempts)",
        entry.fault,
        completion,
    )
