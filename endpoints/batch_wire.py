"""The Batch API over HTTP: files up and down, batches made, found and watched.

The `openai` library carries it: a few calls for thousands of requests, so its cost is nothing.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from endpoints.answers import AttemptFailed, read_refusal
from endpoints.faults import retry_after_seconds
from endpoints.settings import EndpointSettings, read_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    import openai
    from pydantic import SecretStr

CONNECT_SECONDS = 5.0
NO_KEY = "none"  # never sent; without one the library would look into the environment
MARK = "medfactory"  # the metadata key under which a batch carries our number
HEADERS: dict[str, Any] = {"Accept": "application/json", "User-Agent": "medfactory"}
MOST_DETAIL_CHARACTERS = 300
NOT_FOUND = 404
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

T = TypeVar("T")


@dataclass(frozen=True)
class BatchState:
    """What the endpoint says of a batch; `problem` where it failed as a whole."""

    status: str
    files: tuple[str, ...]
    problem: str
    problem_code: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED


class BatchWire:
    """The connection to one endpoint's Batch API, opened with its key at the first use."""

    def __init__(self, settings: EndpointSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._key: SecretStr | None = None
        self._library: openai.AsyncOpenAI | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._library is not None:
            await self._library.close()
            self._library = None

    def open(self) -> "openai.AsyncOpenAI":
        """The library's client; reads the key when it is first opened. Raises KeyMissing."""
        if self._library is None:
            self._key = read_key(self._settings, self._environment)
            self._library = _connect(self._settings, self._key)
        return self._library

    async def upload(self, name: str, content: bytes) -> str:
        """Upload a batch's requests; returns the file's id. Raises AttemptFailed, KeyMissing."""
        files = self.open().files
        made = await self._call(lambda: files.create(file=(name, content), purpose="batch"))
        return _text(made, "id")

    async def create(self, file_id: str, route: str, mark: str) -> str:
        """Make a batch of an uploaded file; returns its id. Raises AttemptFailed, KeyMissing.

        `mark` goes along, so that the batch can be found when this answer is lost.
        """
        batches = self.open().batches
        endpoint: Any = f"/v1{route}"
        window = self._settings.batch.window
        made = await self._call(
            lambda: batches.create(
                input_file_id=file_id,
                endpoint=endpoint,
                completion_window=window,
                metadata={MARK: mark},
            )
        )
        return _text(made, "id")

    async def find(self, mark: str) -> str | None:
        """The id of the batch that carries the mark; None where there is none."""
        batches = self.open().batches

        async def look() -> str | None:
            async for batch in batches.list(limit=100):
                if (getattr(batch, "metadata", None) or {}).get(MARK) == mark:
                    return _text(batch, "id")
            return None

        return await self._call(look)

    async def state(self, batch_id: str) -> BatchState | None:
        """How far a batch is; None where the endpoint does not know it (any more)."""
        batches = self.open().batches
        try:
            batch = await self._call(lambda: batches.retrieve(batch_id))
        except AttemptFailed as failed:
            if failed.fault == "model_unknown":  # what a 404 is taken for
                return None
            raise
        errors = getattr(getattr(batch, "errors", None), "data", None) or []
        problem = next(iter(errors), None)
        files = (getattr(batch, "output_file_id", None), getattr(batch, "error_file_id", None))
        return BatchState(
            status=_text(batch, "status"),
            files=tuple(file for file in files if file),
            problem=self._safe(str(getattr(problem, "message", None) or "")),
            problem_code=str(getattr(problem, "code", None) or ""),
        )

    async def lines(self, file_id: str) -> AsyncIterator[dict[str, Any]]:
        """The JSON objects of a file of answers or errors. Raises AttemptFailed, KeyMissing."""
        content = self.open().files.with_streaming_response.content(file_id)
        with self._named_faults():
            async with content as response:
                async for line in response.iter_lines():
                    if line.strip() and (value := _read_object(line)) is not None:
                        yield value

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        with self._named_faults():
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await call()

    @contextmanager
    def _named_faults(self) -> "Iterator[None]":
        import httpx2
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException):
            seconds = self._settings.timeout_seconds
            raise AttemptFailed("timeout", f"no answer within {seconds:g} s") from None
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
            cause = error.__cause__ or error
            reached = not isinstance(cause, httpx2.ConnectError)
            detail = self._safe(f"{type(cause).__name__}: {cause}")
            raise AttemptFailed("connection", detail, reached=reached) from None
        except (openai.APIResponseValidationError, ValueError) as error:
            raise AttemptFailed("malformed", self._safe(str(error))) from None

    def _refused(self, error: "openai.APIStatusError") -> AttemptFailed:
        told = read_refusal(error.status_code, error.body)
        text = self._safe(told.message)
        # A refusal of the key may repeat a part of it.
        said = f": {text}" if text and told.fault != "authentication" else ""
        return AttemptFailed(
            told.fault,
            f"HTTP {error.status_code}{said}",
            retry_after_seconds=retry_after_seconds(error.response.headers),
            overloaded=told.overloaded,
        )

    def _safe(self, text: str) -> str:
        """A text of the endpoint's, short and without the key."""
        if self._key is not None:
            text = text.replace(self._key.get_secret_value(), "***")
        return " ".join(text.split())[:MOST_DETAIL_CHARACTERS]


def _connect(settings: EndpointSettings, key: "SecretStr | None") -> "openai.AsyncOpenAI":
    """The library's client, that takes nothing but these arguments for granted."""
    import openai

    class Library(openai.AsyncOpenAI):
        """Sends our headers and no others: not OPENAI_CUSTOM_HEADERS, not the machine's."""

        @property
        def default_headers(self) -> dict[str, str | openai.Omit]:
            return HEADERS

    async def send_no_key(request: "httpx2.Request") -> None:
        if key is None:
            request.headers.pop("Authorization", None)

    timeout = openai.Timeout(settings.timeout_seconds, connect=CONNECT_SECONDS)
    return Library(
        api_key=NO_KEY if key is None else key.get_secret_value(),
        organization="",
        project="",
        webhook_secret="",
        base_url=settings.base_url,
        timeout=timeout,
        max_retries=0,
        # The person's proxies and certificates; no proxy stands before loopback.
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=timeout,
            trust_env=not settings.on_loopback,
            event_hooks={"request": [send_no_key]},
        ),
    )


def _text(value: Any, name: str) -> str:
    """A field that must be a text. Raises AttemptFailed where the response is something else."""
    text = getattr(value, name, None)
    if not isinstance(text, str) or not text:
        raise AttemptFailed("malformed", f"the response has no '{name}'")
    return text


def _read_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
