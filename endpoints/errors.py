"""What can go wrong between us and an endpoint.

`FaultyCompletion` is about one request: quarantine its row and go on. Every other error
here is about the endpoint, the money or the journal: the run stops, and what was bought
stays in the journal.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from endpoints.request import Completion

FaultName = Literal[
    "rate_limit",
    "timeout",
    "connection",
    "server",
    "malformed",
    "truncated",
    "refused",
    "content_filter",
    "empty",
    "authentication",
    "quota",
    "model_unknown",
    "bad_request",
    "no_json",
    "schema_mismatch",
]


class EndpointError(Exception):
    """Base of the errors of this package."""


class ConfigurationError(EndpointError):
    """The endpoints' YAML, an override or a setting is wrong; nothing was sent."""


class KeyMissing(EndpointError):
    """The environment variable that should hold the endpoint's key is absent or empty."""


class KeyRefused(EndpointError):
    """The endpoint did not accept the key (401 or 403)."""


class QuotaExhausted(EndpointError):
    """The account behind the key has no money or quota left (402, or 429 `insufficient_quota`)."""


class ModelUnknown(EndpointError):
    """The endpoint does not serve the model; the message lists those that it does."""


class EndpointDown(EndpointError):
    """The endpoint does not answer: nothing listens, or every call times out."""


class CircuitOpen(EndpointDown):
    """The endpoint answers, but with nothing else than faults."""


class BudgetExceeded(EndpointError):
    """The next request could pass the cap, so it was not sent.

    `spent_usd` is what the ledger's scope has spent in all; `remaining_usd_estimate` what the
    rest would cost, where whoever caught the error could tell (see `spending.with_estimate`).
    """

    def __init__(
        self,
        message: str,
        spent_usd: float | None = None,
        cap_usd: float | None = None,
        remaining_usd_estimate: float | None = None,
    ) -> None:
        super().__init__(message)
        self.spent_usd = spent_usd
        self.cap_usd = cap_usd
        self.remaining_usd_estimate = remaining_usd_estimate


class JournalFailed(EndpointError):
    """The journal could not be read or written (full disk, damaged file, no permission)."""


class FaultyCompletion(EndpointError):
    """One request finally failed; `fault` names how.

    `completion` is the answer, where there was one (truncated, refused, …), else None; `model`
    that which a pool asked.
    """

    def __init__(
        self, message: str, fault: FaultName, completion: "Completion | None" = None
    ) -> None:
        super().__init__(message)
        self.fault: FaultName = fault
        self.completion = completion
        self.model = ""
