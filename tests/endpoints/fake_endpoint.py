"""What the tests of this package share: settings of a fake endpoint, requests, and a clock."""

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.journal import Journal
from endpoints.prices import Prices
from endpoints.request import ChatRequest, Completion, Sampling
from endpoints.settings import EndpointSettings
from validation.schemas import Message

PRICES = Prices(
    input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=2.0, as_of=date(2026, 11, 1)
)


class SkippingClock:
    """Waits take no time, and are remembered."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


def endpoint(base_url: str, **changes: Any) -> EndpointSettings:
    values: dict[str, Any] = {"name": "teacher", "base_url": base_url, "model": "fake"}
    if "free" not in changes:
        values["prices"] = PRICES
    return EndpointSettings(**(values | changes))


def question(text: str = "What brings you here?", **changes: Any) -> ChatRequest:
    messages = (Message(role="user", content=text),)
    return ChatRequest(**({"model": "fake", "messages": messages} | changes))


def short(text: str, index: int = 0) -> ChatRequest:
    return question(text, sampling=Sampling(max_tokens=10), sample_index=index)


async def ask(
    settings: EndpointSettings,
    journal: Journal,
    *requests: ChatRequest,
    cap_usd: float | None = None,
    environment: Mapping[str, str] | None = None,
    clock: SkippingClock | None = None,
) -> list[Completion]:
    """Ask all at once; raises the first error."""
    with Budget(journal, cap_usd) as budget:
        async with Client(
            settings, journal, budget, environment or {}, clock or SkippingClock()
        ) as client:
            return await asyncio.gather(*(client.complete(request) for request in requests))
