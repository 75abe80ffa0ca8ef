"""What tokens cost: dated prices by model, the packaged ones under the person's own."""

from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, ValidationError, model_validator

from endpoints.errors import ConfigurationError
from endpoints.values import Frozen, NonBlank
from endpoints.yaml_file import parse_entries, read_persons_file, unknown_key

FILE_VARIABLE = "MEDFACTORY_PRICES"
FILE_NAME = "prices.yaml"
PACKAGED = "endpoints/prices.yaml"
STALE_DAYS = 180


class Prices(Frozen):
    """What a million tokens cost, in US dollars, and the day on which that was looked up.

    `cached_input…`: for prompt tokens that the endpoint had in its cache (None: no discount).
    `batch_share`: what of the price the Batch API asks for, typically 0.5.
    """

    input_usd_per_million_tokens: NonNegativeFloat
    output_usd_per_million_tokens: NonNegativeFloat
    cached_input_usd_per_million_tokens: NonNegativeFloat | None = None
    batch_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    as_of: date
    source: str = ""

    @model_validator(mode="after")
    def _cache_is_a_discount(self) -> Self:
        cached = self.cached_input_usd_per_million_tokens
        if cached is not None and cached > self.input_usd_per_million_tokens:
            raise ValueError("cached input cannot cost more than input: budgets reserve the latter")
        return self

    def cost_usd(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        batch: bool = False,
    ) -> float:
        """What so many tokens cost; `cached_tokens` are among the `prompt_tokens`."""
        full, cached = self.input_usd_per_million_tokens, self.cached_input_usd_per_million_tokens
        cheap = 0 if cached is None else min(cached_tokens, prompt_tokens)
        cost = (
            (prompt_tokens - cheap) * full
            + cheap * (cached or 0.0)
            + completion_tokens * self.output_usd_per_million_tokens
        ) / 1e6
        return cost * self.batch_share if batch else cost


class ModelPrices(Prices):
    """An entry of a file of prices; `host`: where it holds (None: everywhere)."""

    host: NonBlank | None = None


def read_prices(environment: Mapping[str, str]) -> dict[str, ModelPrices]:
    """The prices by model: the packaged ones, under those of the person's file.

    The file is the one that $MEDFACTORY_PRICES names, else `prices.yaml` in the working
    directory where it exists. An entry there stands for the whole of the packaged one.
    Raises ConfigurationError naming the file and the key.
    """
    packaged = files("endpoints").joinpath("prices.yaml").read_text(encoding="utf-8")
    prices = _build(packaged, PACKAGED)
    if (own := read_persons_file("prices'", FILE_NAME, FILE_VARIABLE, environment)) is not None:
        prices |= _build(own.text, str(own.path))
    return prices


def find_prices(
    prices: Mapping[str, ModelPrices], model: str, base_url: str | None
) -> Prices | None:
    """What the model costs there; None where no entry says so."""
    entry = prices.get(model)
    if entry is None or entry.host not in (None, urlsplit(base_url or "").hostname):
        return None
    return Prices.model_validate(entry.model_dump(exclude={"host"}))


def stale_price(model: str, prices: Prices | None, today: date) -> str | None:
    """A warning where the price was looked up more than 180 days ago; else None."""
    if prices is None or (days := (today - prices.as_of).days) <= STALE_DAYS:
        return None
    return (
        f"the price of {model} is of {prices.as_of} ({days} days old), so the budget may be wrong. "
        f"Look it up, and write it with today's date into {FILE_NAME} or the endpoint's entry"
    )


def _build(text: str, origin: str) -> dict[str, ModelPrices]:
    built = {}
    for model, entry in parse_entries(text, origin, "models", PACKAGED).items():
        try:
            built[model] = ModelPrices.model_validate(entry)
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            # A misspelt key first: it explains why another one is missing.
            first = min(found, key=lambda fault: fault["type"] != "extra_forbidden")
            place = ".".join(["models", model, *map(str, first["loc"])])
            if first["type"] == "extra_forbidden":
                raise unknown_key(origin, place, tuple(ModelPrices.model_fields)) from None
            raise ConfigurationError(
                f"{origin}: {place}: {first['msg']}. Correct it; {PACKAGED} is an example."
            ) from None
    return built
