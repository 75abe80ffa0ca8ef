"""Several endpoints for one role: drawn by weight, and one steps in where another is down.

The draw depends on a name that the caller gives (a talk's), so that one talk is spoken by one
model, and a run that starts again draws the same one.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from artifacts.digest import digest_json
from endpoints.errors import (
    ConfigurationError,
    EndpointDown,
    EndpointError,
    FaultyCompletion,
    QuotaExhausted,
)
from endpoints.request import ChatRequest, Completion
from endpoints.settings import EndpointSettings
from endpoints.values import Frozen

Weight = Annotated[float, Field(gt=0.0)]
Ask = Callable[[EndpointSettings], ChatRequest]


class Completer(Protocol):
    """What answers requests for one endpoint: live, by batch, or out of the journal alone."""

    @property
    def settings(self) -> EndpointSettings:
        """The endpoint."""
        ...

    def knows(self, request: ChatRequest) -> bool:
        """Whether the journal holds the answer, so that asking costs nothing."""
        ...

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer. Raises FaultyCompletion, and the errors that end an endpoint."""
        ...


class Share(Frozen):
    """One endpoint's part in a role."""

    endpoint: EndpointSettings
    weight: Weight = 1.0


@dataclass(frozen=True)
class Member:
    """One completer's part in a pool."""

    completer: Completer
    weight: float = 1.0


@dataclass(frozen=True)
class Answered:
    """A completion, and the endpoint that was asked for it."""

    completion: Completion
    endpoint: EndpointSettings


class Pool:
    """The endpoints of one role, and those that step in (`fallbacks`, in their order).

    `on_answer` is told of every answer, usable or not. Raises ConfigurationError where there is
    no member.
    """

    def __init__(
        self,
        members: Sequence[Member],
        fallbacks: Sequence[Completer] = (),
        on_answer: Callable[[Answered], None] = lambda answered: None,
    ) -> None:
        if not members:
            raise ConfigurationError("a role needs at least one endpoint: name one for it")
        self.members = tuple(members)
        self.fallbacks = tuple(fallbacks)
        self.on_answer = on_answer
        self.without_schema: set[str] = set()  # endpoints that refused a JSON schema
        self._lost: dict[str, EndpointError] = {}

    @property
    def completers(self) -> tuple[Completer, ...]:
        """All endpoints of the pool, each once."""
        every = [member.completer for member in self.members] + list(self.fallbacks)
        return tuple({one.settings.name: one for one in every}.values())

    def drawn(self, name: str) -> EndpointSettings:
        """The endpoint that is asked first under that name."""
        return self._order(name)[0].settings

    async def complete(self, ask: Ask, name: str) -> Answered:
        """The answer of the endpoint drawn for `name`; of the next one where that is down.

        `ask` makes the request for an endpoint. What the drawn one or a fallback has answered is
        not bought again. Raises FaultyCompletion, the last endpoint's error where all are down, and
        whatever ends a run.
        """
        order = self._order(name)
        requests = [(completer, ask(completer.settings)) for completer in order]
        # Other members are left out: an old journal of one model would undo the weights.
        stepping_in = {completer.settings.name for completer in self.fallbacks}
        if len(order) > 1:
            for place, (completer, request) in enumerate(requests):
                may_answer = place == 0 or completer.settings.name in stepping_in
                if may_answer and completer.knows(request):
                    return await self._told(completer, request)
        error: EndpointError | None = None
        for completer, request in requests:
            if (lost := self._lost.get(completer.settings.name)) is not None:
                error = lost
                continue
            try:
                return await self._told(completer, request)
            except (EndpointDown, QuotaExhausted) as down:
                self._lost[completer.settings.name] = error = down
                logging.getLogger(__name__).warning("%s", self._stepping_in(completer))
        assert error is not None
        raise error

    def _stepping_in(self, lost: Completer) -> str:
        name = lost.settings.name
        left = [c.settings.name for c in self.completers if c.settings.name not in self._lost]
        then = f"asking {' or '.join(map(repr, left))} instead" if left else "none is left to ask"
        return f"endpoint {name!r} is given up for this role: {then}"

    async def _told(self, completer: Completer, request: ChatRequest) -> Answered:
        try:
            answered = Answered(await completer.complete(request), completer.settings)
        except FaultyCompletion as faulty:
            faulty.model = completer.settings.model
            if faulty.completion is not None:
                self.on_answer(Answered(faulty.completion, completer.settings))
            raise
        self.on_answer(answered)
        return answered

    def _order(self, name: str) -> list[Completer]:
        """Members by a weighted draw, then fallbacks.

        Source: Efraimidis and Spirakis 2006, weighted random sampling (exponential keys).
        """
        if len(self.members) == 1:
            return list(self.completers)
        keys = {}
        for member in self.members:
            digest = digest_json(["pool", name, member.completer.settings.name])
            uniform = (int(digest[:13], 16) + 1) / (16**13 + 1)
            keys[member.completer.settings.name] = -math.log(uniform) / member.weight
        drawn = sorted((m.completer for m in self.members), key=lambda c: keys[c.settings.name])
        return list({c.settings.name: c for c in [*drawn, *self.fallbacks]}.values())
