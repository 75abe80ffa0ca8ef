"""What a step's answers were and cost."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

from endpoints.client import Tally
from endpoints.pool import Answered


@dataclass
class Use:
    """Answers of one kind. `cost_usd` counts every one, `spent_usd` those bought now.

    `latency_seconds` adds up how long each took when it was bought.
    """

    calls: int = 0
    from_journal: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    spent_usd: float = 0.0
    latency_seconds: float = 0.0

    def add(self, answered: Answered) -> None:
        """Count one answer."""
        completion = answered.completion
        self.calls += 1
        self.from_journal += completion.from_journal
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.cost_usd += completion.cost_usd
        self.latency_seconds += completion.latency_seconds
        self.spent_usd += 0.0 if completion.from_journal else completion.cost_usd

    def told(self) -> dict[str, JsonValue]:
        """For a summary."""
        return {
            "calls": self.calls,
            "from_journal": self.from_journal,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": round(self.cost_usd, 9),
            "spent_usd": round(self.spent_usd, 9),
            "latency_seconds": round(self.latency_seconds, 3),
        }


@dataclass
class Meter:
    """Counts the answers of a step, in all, by role and by endpoint; tells `on_call` of each."""

    total: Use = field(default_factory=Use)
    by_role: dict[str, Use] = field(default_factory=dict)
    by_endpoint: dict[str, Use] = field(default_factory=dict)
    on_call: Callable[[], None] = field(default=lambda: None)
    _tallies: list[Tally] = field(default_factory=list)

    def teller(self, role: str) -> Callable[[Answered], None]:
        """What a role's pool tells of its answers."""

        def tell(answered: Answered) -> None:
            self.total.add(answered)
            self.by_role.setdefault(role, Use()).add(answered)
            self.by_endpoint.setdefault(answered.endpoint.name, Use()).add(answered)
            self.on_call()

        return tell

    def watch(self, tally: Tally) -> None:
        """Take the faults of a client into account."""
        self._tallies.append(tally)

    @property
    def faults(self) -> dict[str, int]:
        """Faults that attempts of this run met, by name (retried ones too)."""
        every: Counter[str] = Counter()
        for tally in self._tallies:
            every.update(tally.faults)
        return dict(sorted(every.items()))

    def summary(self) -> dict[str, JsonValue]:
        """For the step's manifest; what depends on chance or on the journal is no part of it."""
        told = self.total.told()
        return told | {
            "by_role": {role: use.told() for role, use in sorted(self.by_role.items())},
            "by_endpoint": {name: use.told() for name, use in sorted(self.by_endpoint.items())},
            "faults_met": dict(self.faults),
        }
