"""Who answers for which role, where answers are kept, and what may be spent."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from datagen.meter import Meter
from endpoints.batch import BatchClient, open_batch_client
from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.embedded import open_client
from endpoints.journal import Journal
from endpoints.offline import OfflineCompleter
from endpoints.pool import Completer, Member, Pool, Share, Weight
from endpoints.settings import EndpointSettings, find_endpoint, read_endpoints
from validation.schemas import Frozen, Language, NonBlank

# `teacher` writes whatever is no part of a talk: cases, questions, rewrites, summaries.
AgentRole = Literal["doctor", "patient", "examiner", "critic", "judge", "teacher"]
Transport = Literal["live", "batch"]
# Coroutines per request slot: enough that a slot never waits for the next item to begin. The
# embedded server keeps one talk's prompt a slot, so there a talk keeps its slot to the end.
ITEMS_PER_SLOT = 2
ITEMS_PER_EMBEDDED_SLOT = 1


class EndpointShare(Frozen):
    """One endpoint's part in a role, by name."""

    endpoint: NonBlank
    weight: Weight = 1.0


# In a profile: `judge: big-model`, or `judge: [{endpoint: a, weight: 2}, {endpoint: b}]`.
RoleChoice = NonBlank | tuple[EndpointShare, ...]


class LlmAccess(Frozen):
    """The endpoints, where their answers are kept, and what may be spent (None: no cap).

    `endpoint` fills every role that `roles` does not name; `fallbacks` step in for any that is
    down. `transport`: each request at once, or many as batches, which may take hours and cost
    about half. `offline`: nothing is sent, only the journal answers.
    """

    endpoint: EndpointSettings
    journal: Path
    budget_usd: float | None = None
    roles: dict[AgentRole, tuple[Share, ...]] = Field(default_factory=dict)
    fallbacks: tuple[EndpointSettings, ...] = ()
    transport: Transport = "live"
    offline: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        endpoints_file: Path | None,
        journal: Path,
        budget_usd: float | None,
        roles: Mapping[AgentRole, RoleChoice] | None = None,
        fallbacks: Sequence[str] = (),
    ) -> Self:
        """Access by endpoints' names. Raises ConfigurationError where there is no such one."""
        endpoints = read_endpoints(endpoints_file)
        return cls(
            endpoint=find_endpoint(endpoints, name),
            journal=journal,
            budget_usd=budget_usd,
            roles={role: _shares(choice, endpoints) for role, choice in (roles or {}).items()},
            fallbacks=tuple(find_endpoint(endpoints, fallback) for fallback in fallbacks),
        )

    def shares(self, role: AgentRole) -> tuple[Share, ...]:
        """The endpoints of a role with their weights."""
        return self.roles.get(role) or (Share(endpoint=self.endpoint),)

    def languages(self, roles: Sequence[AgentRole]) -> tuple[Language, ...]:
        """The languages in which every endpoint of these roles can talk."""
        spoken = [set(share.endpoint.languages) for role in roles for share in self.shares(role)]
        every: tuple[Language, ...] = ("en", "zh")
        return tuple(language for language in every if all(language in one for one in spoken))

    def identity(self, roles: Sequence[AgentRole]) -> dict[str, dict[str, Share]]:
        """What of it decides the result of a step that uses these roles: role → name → share."""
        identity: dict[str, dict[str, Share]] = {
            role: {share.endpoint.name: share for share in self.shares(role)} for role in roles
        }
        for place, endpoint in enumerate(self.fallbacks if roles else (), start=1):
            identity[f"fallback {place}"] = {endpoint.name: Share(endpoint=endpoint)}
        return identity


@dataclass(frozen=True)
class Cast:
    """A pool for every role, and the meter that counts their answers."""

    access: LlmAccess
    completers: Mapping[str, Completer]
    meter: Meter
    _pools: dict[AgentRole, Pool] = field(default_factory=dict)

    def pool(self, role: AgentRole) -> Pool:
        """The endpoints of a role."""
        if role not in self._pools:
            members = [
                Member(self.completers[share.endpoint.name], share.weight)
                for share in self.access.shares(role)
            ]
            fallbacks = [self.completers[one.name] for one in self.access.fallbacks]
            self._pools[role] = Pool(members, fallbacks, self.meter.teller(role))
        return self._pools[role]

    def at_once(self, roles: Sequence[AgentRole]) -> int:
        """How many items to work on at once, so that no slot of these roles waits."""
        shares = [share for role in roles for share in self.access.shares(role)]
        endpoints = {share.endpoint.name: share.endpoint for share in shares}
        if self.access.transport == "batch":  # what is not at work is in no batch
            return sum(one.batch.max_requests for one in endpoints.values())
        return sum(
            (ITEMS_PER_EMBEDDED_SLOT if one.embedded else ITEMS_PER_SLOT) * one.max_in_flight
            for one in endpoints.values()
        )


@asynccontextmanager
async def open_cast(
    access: LlmAccess, roles: Sequence[AgentRole], meter: Meter
) -> AsyncIterator[Cast]:
    """The endpoints of these roles, opened and checked.

    A fallback is not checked: it may be down, as long as it is not needed. Raises the endpoint
    errors that end a run, before anything is bought.
    """
    wanted = {s.endpoint.name: s.endpoint for role in roles for s in access.shares(role)}
    spare = {one.name: one for one in access.fallbacks if roles}
    with Journal(access.journal) as journal, Budget(journal, access.budget_usd) as budget:
        async with AsyncExitStack() as stack:
            completers: dict[str, Completer] = {}
            for name, endpoint in (spare | wanted).items():
                if access.offline:
                    completers[name] = OfflineCompleter(endpoint, journal)
                    continue
                client: Client | BatchClient
                if access.transport == "batch":
                    batches = open_batch_client(endpoint, journal, budget)
                    client = await stack.enter_async_context(batches)
                else:
                    live = open_client(endpoint, journal, budget)
                    client = await stack.enter_async_context(live)
                if name in wanted and not spare:
                    await client.check()
                meter.watch(client.tally)
                completers[name] = client
            yield Cast(access, completers, meter)


def _shares(choice: RoleChoice, endpoints: Mapping[str, EndpointSettings]) -> tuple[Share, ...]:
    chosen = (EndpointShare(endpoint=choice),) if isinstance(choice, str) else choice
    return tuple(
        Share(endpoint=find_endpoint(endpoints, one.endpoint), weight=one.weight) for one in chosen
    )
