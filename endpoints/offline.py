"""Answers out of the journal alone: what a dry run asks, so that nothing is sent."""

from endpoints.errors import EndpointError
from endpoints.journal import Journal
from endpoints.purchase import deliver, is_final
from endpoints.request import ChatRequest, Completion
from endpoints.settings import EndpointSettings


class NotBought(EndpointError):
    """The journal lacks the answer, and nothing may be sent."""

    def __init__(self, request: ChatRequest, endpoint: EndpointSettings) -> None:
        super().__init__(
            f"the journal holds no answer of endpoint '{endpoint.name}' to request "
            f"{request.digest[:12]}, and a dry run sends nothing"
        )
        self.request = request
        self.endpoint = endpoint


class OfflineCompleter:
    """One endpoint's answers, as far as they were bought."""

    def __init__(self, settings: EndpointSettings, journal: Journal) -> None:
        self.settings = settings
        self.journal = journal

    def knows(self, request: ChatRequest) -> bool:
        """Whether the journal holds the answer."""
        entry = self.journal.get(request.digest)
        return entry is not None and is_final(entry.fault, entry.draws, self.settings.max_attempts)

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer that was bought. Raises NotBought, FaultyCompletion."""
        entry = self.journal.get(request.digest)
        if entry is None or not self.knows(request):
            raise NotBought(request, self.settings)
        return deliver(entry, from_journal=True)
