"""One attempt of one request over HTTP: what is sent, and what comes back."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from endpoints.answers import (
    Answer,
    AttemptFailed,
    ToldError,
    read_answer,
    read_error_body,
    read_json,
    read_refusal,
)
from endpoints.connection import CONNECT_SECONDS, open_session
from endpoints.faults import retry_after_seconds
from endpoints.request import ChatRequest
from endpoints.settings import EndpointSettings, read_key
from endpoints.stream import StreamedBody

if TYPE_CHECKING:
    import aiohttp
    from pydantic import SecretStr
    from yarl import URL

MOST_DETAIL_CHARACTERS = 300
MOST_START_CHARACTERS = 120
OK = 200
EVENTS = "text/event-stream"
ROUTES = ("/models", "/completions", "/chat/completions")


class Wire:
    """The connections of one endpoint, opened with its key at the first use."""

    def __init__(self, settings: EndpointSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._key: SecretStr | None = None
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def open(self) -> "aiohttp.ClientSession":
        """The session; reads the key when it is first opened.

        Raises KeyMissing, and ConfigurationError for a proxy that cannot be used.
        """
        if self._session is None:
            from yarl import URL

            self._key = read_key(self._settings, self._environment)
            base_url = (self._settings.base_url or "").rstrip("/")
            self._urls = {route: URL(base_url + route) for route in ROUTES}
            self._session = open_session(self._settings, self._key)
        return self._session

    async def ask(
        self,
        request: ChatRequest,
        draw: int = 0,
        hear: Callable[[Mapping[str, str]], None] = lambda headers: None,
    ) -> Answer:
        """Send the request once. `draw` > 0 shifts its seed, to draw another answer.

        `hear` is told the headers of the response, also of a refusal. Raises AttemptFailed,
        KeyMissing.
        """
        route, body = payload(request, self._settings, draw)
        if self._settings.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        value = await self._send("POST", route, json.dumps(body).encode(), hear)
        return read_answer(value, request)

    async def list_models(self) -> tuple[str, ...]:
        """The ids and aliases that GET /models names, sorted. Raises AttemptFailed, KeyMissing."""
        body = await self._send("GET", "/models", None)
        models = body.get("data") if isinstance(body, dict) else None
        names: set[str] = set()
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict):
                aliases = model.get("aliases")
                listed = [model.get("id"), *(aliases if isinstance(aliases, list) else ())]
                names.update(name for name in listed if name and isinstance(name, str))
        return tuple(sorted(names))

    async def _send(
        self,
        verb: str,
        route: str,
        content: bytes | None,
        hear: Callable[[Mapping[str, str]], None] = lambda headers: None,
    ) -> Any:
        """The JSON value of a response with status 200. Raises AttemptFailed, KeyMissing."""
        import aiohttp

        session = self.open()
        streamed = StreamedBody()
        try:
            async with session.request(verb, self._urls[route], data=content) as response:
                hear(response.headers)
                if response.status == OK and response.content_type == EVENTS:
                    async for data in response.content.iter_any():
                        streamed.feed(data)
                    value: Any = streamed.body(chat=route == "/chat/completions")
                else:
                    raw = await response.read()
                    value = read_json(raw)
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None
        if response.status != OK:
            raise self._failed(read_refusal(response.status, value), response)
        if value is None:
            # Cut last: half a key would not be found in it.
            start = self._safe(raw.decode(errors="replace"))[:MOST_START_CHARACTERS]
            raise AttemptFailed("malformed", f"the response is not JSON: {start!r}")
        if (told := read_error_body(value)) is not None:
            raise self._failed(told, response, streamed.begun or "choices" in value)
        return value

    def _broken(self, error: Exception) -> AttemptFailed:
        """What a connection that was never made, or broke, means."""
        import aiohttp

        if isinstance(error, aiohttp.ConnectionTimeoutError):
            detail = f"no connection within {CONNECT_SECONDS:g} s"
            return AttemptFailed("connection", detail, reached=False)
        if isinstance(error, TimeoutError):
            seconds = self._settings.timeout_seconds
            return AttemptFailed("timeout", f"no answer within {seconds:g} s")
        detail = self._safe(f"{type(error).__name__}: {error}")
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)):
            return AttemptFailed("connection", detail, reached=False)
        return AttemptFailed("connection", detail)

    def _failed(
        self, told: ToldError, response: "aiohttp.ClientResponse", begun: bool = False
    ) -> AttemptFailed:
        text = self._safe(told.message)
        # A refusal of the key may repeat a part of it.
        said = f": {text}" if text and told.fault != "authentication" else ""
        inside = "" if told.status == response.status else " with an error in its body"
        return AttemptFailed(
            told.fault,
            f"HTTP {response.status}{inside}{said}",
            retry_after_seconds=retry_after_seconds(response.headers),
            overloaded=told.overloaded,
            may_be_billed=True if begun else None,
        )

    def _safe(self, text: str) -> str:
        """A text of the endpoint's, short and without the key."""
        if self._key is not None:
            text = text.replace(self._key.get_secret_value(), "***")
        return " ".join(text.split())[:MOST_DETAIL_CHARACTERS]


def payload(
    request: ChatRequest, settings: EndpointSettings, draw: int = 0
) -> tuple[str, dict[str, Any]]:
    """The route and the JSON body of a request."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": list(sampling.stop) or None,
        "seed": None if sampling.seed is None else sampling.seed + draw,
    }
    if request.messages is None:
        path = "/completions"
        body |= {"prompt": request.prompt, "max_tokens": sampling.max_tokens}
    else:
        path = "/chat/completions"
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
        body[settings.token_limit_field] = sampling.max_tokens
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return path, {name: value for name, value in body.items() if value is not None}
