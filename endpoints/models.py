"""Which models an endpoint lists, and whether the one that is wanted is among them."""

import random
import re
from dataclasses import dataclass

from endpoints import verdicts
from endpoints.answers import AttemptFailed
from endpoints.concurrency import Clock
from endpoints.faults import POLICIES, backoff_seconds
from endpoints.settings import EndpointSettings
from endpoints.wire import Wire

CHECK_ATTEMPTS = 3
VERSION_BEGINS = re.compile(r"[-:@._]")


@dataclass(frozen=True)
class Checked:
    """What `check` found: the models that the endpoint serves (empty: it lists none).

    `warning` says what is doubtful (empty: nothing); the first request decides.
    """

    endpoint: str
    base_url: str
    models: tuple[str, ...]
    latency_seconds: float
    warning: str = ""


def find_listed(model: str, models: tuple[str, ...]) -> str | None:
    """The name under which a model is listed: its own, or one that it seems to be an alias of.

    An alias is a name without its version (`gpt-5` for `gpt-5-2026-08-01`, `qwen3` for
    `qwen3:latest`), without the folders before it (`models/…`), or in other capitals. None
    where nothing like it is listed.
    """
    if model in models:
        return model
    return next((listed for listed in models if _same(model, listed)), None)


def _same(one: str, other: str) -> bool:
    short, long = sorted((_last(one), _last(other)), key=len)
    return long == short or bool(long.startswith(short) and VERSION_BEGINS.match(long, len(short)))


def _last(name: str) -> str:
    return name.lower().rpartition("/")[2]


async def check_model(wire: Wire, settings: EndpointSettings, clock: Clock) -> Checked:
    """Ask the endpoint which models it serves; costs nothing.

    Raises EndpointDown, KeyMissing, KeyRefused, ModelUnknown.
    """
    started = clock.now()
    models = await list_models(wire, settings, clock)
    listed = find_listed(settings.model, models)
    if models and listed is None:
        raise verdicts.model_unknown(settings, models)
    warning = ""
    if listed is not None and listed != settings.model:
        warning = (
            f"endpoint '{settings.name}' does not list the model '{settings.model}', but "
            f"'{listed}', which that may stand for; the first request will tell"
        )
    base_url = settings.base_url or ""
    return Checked(settings.name, base_url, models, clock.now() - started, warning)


async def list_models(wire: Wire, settings: EndpointSettings, clock: Clock) -> tuple[str, ...]:
    """The models that the endpoint lists; empty where it has no such list.

    Raises EndpointDown, KeyMissing, KeyRefused, QuotaExhausted.
    """
    dice = random.Random()
    for attempt in range(1, CHECK_ATTEMPTS + 1):
        try:
            return await wire.list_models()
        except AttemptFailed as failed:
            if failed.fault in ("model_unknown", "bad_request"):
                return ()  # it has no such route
            if POLICIES[failed.fault].stops_run:
                raise verdicts.stop(settings, failed.fault, failed.detail, ()) from None
            if attempt == CHECK_ATTEMPTS:
                raise verdicts.down(settings, failed.detail, failed.reached) from None
        await clock.sleep(backoff_seconds(attempt, dice))
    return ()
