"""One attempt of one request over HTTP: what is sent, and what the response means.

The `openai` library carries it, on aiohttp. What is left out of it: typed requests and
responses (3.3 ms of CPU a call, bytes and JSON 0.6; measured November 2026 on one core),
which would also fail on answers that can be read; its retries; its headers about this
machine; and whatever it finds in the person's OPENAI_* variables.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from endpoints.errors import EndpointError, FaultName
from endpoints.faults import OVERLOADED, POLICIES, name_answer, name_status, retry_after_seconds
from endpoints.request import ChatRequest
from endpoints.settings import EndpointSettings, read_key

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai import RequestOptions
    from pydantic import SecretStr

CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 60.0
NO_KEY = "none"  # never sent; without one the library would look into the environment
HEADERS: dict[str, Any] = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": "medfactory",
}
MOST_DETAIL_CHARACTERS = 300
MOST_START_CHARACTERS = 120
MOST_TOKENS = 1 << 40
THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """A response that was understood; `fault` where its text cannot be used."""

    text: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    fault: FaultName | None


class AttemptFailed(EndpointError):
    """One attempt brought no answer.

    `reached`: whether the endpoint got the request. `overloaded`: whether it wants less.
    """

    def __init__(
        self,
        fault: FaultName,
        detail: str,
        reached: bool = True,
        retry_after_seconds: float | None = None,
        overloaded: bool | None = None,
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: FaultName = fault
        self.detail = detail
        self.reached = reached
        self.retry_after_seconds = retry_after_seconds
        self.overloaded = POLICIES[fault].overload if overloaded is None else overloaded


class Wire:
    """The connection pool of one endpoint, opened with its key at the first use."""

    def __init__(self, settings: EndpointSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._key: SecretStr | None = None
        self._library: openai.AsyncOpenAI | None = None
        self._options: RequestOptions = {}
        # Whole URLs: the library joins and parses them anew for every request.
        self._base_url = (settings.base_url or "").rstrip("/")

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
            self._options = _options(self._key)
        return self._library

    async def ask(self, request: ChatRequest, draw: int = 0) -> Answer:
        """Send the request once. `draw` > 0 shifts its seed, to draw another answer.

        Raises AttemptFailed, KeyMissing.
        """
        path, body = payload(request, self._settings, draw)
        return read_answer(await self._send("POST", path, json.dumps(body).encode()), request)

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

    async def _send(self, verb: Literal["GET", "POST"], path: str, content: bytes | None) -> Any:
        """The JSON value of a response with status 200. Raises AttemptFailed, KeyMissing."""
        import aiohttp
        import httpx2
        import openai

        library = self.open()
        url = self._base_url + path
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                if verb == "GET":
                    response = await library.get(
                        url, cast_to=httpx2.Response, options=self._options
                    )
                else:
                    response = await library.post(
                        url, cast_to=httpx2.Response, content=content, options=self._options
                    )
        except openai.APIStatusError as error:
            raise self._refused(error.response) from None
        except TimeoutError:
            seconds = self._settings.timeout_seconds
            raise AttemptFailed("timeout", f"no answer within {seconds:g} s") from None
        except (openai.APIConnectionError, aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None
        if (value := _read_json(response.content)) is None:
            # Cut last: half a key would not be found in it.
            start = self._safe(response.content.decode(errors="replace"))[:MOST_START_CHARACTERS]
            raise AttemptFailed("malformed", f"the response is not JSON: {start!r}")
        return value

    def _broken(self, error: Exception) -> AttemptFailed:
        """What a connection that was never made, or broke, means."""
        import aiohttp

        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, aiohttp.ClientError):
            cause = cause.__cause__
        if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            detail = str(cause) or f"no connection within {CONNECT_SECONDS:g} s"
            return AttemptFailed("connection", self._safe(detail), reached=False)
        return AttemptFailed("connection", self._safe(f"{type(cause).__name__}: {cause}"))

    def _refused(self, response: "httpx2.Response") -> AttemptFailed:
        status, body = response.status_code, _read_json(response.content)
        error = body.get("error", body) if isinstance(body, dict) else body
        told = error if isinstance(error, dict) else {"message": error}
        fault = name_status(status, str(told.get("code") or told.get("type") or ""))
        text = self._safe(str(told.get("message") or ""))
        # A refusal of the key may repeat a part of it.
        detail = f"HTTP {status}" + (f": {text}" if text and fault != "authentication" else "")
        return AttemptFailed(
            fault,
            detail,
            retry_after_seconds=retry_after_seconds(response.headers),
            overloaded=status in OVERLOADED or POLICIES[fault].overload,
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


def read_answer(body: Any, request: ChatRequest) -> Answer:
    """What a 200 response says. Raises AttemptFailed (`malformed`) where it says nothing.

    Where the endpoint tells no usage, or none that makes sense, the upper bounds of the request
    stand for it: the answer is paid for, and asking again would pay twice.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"] if request.messages is not None else choice
        text = message["content" if request.messages is not None else "text"] or ""
        finish_reason = str(choice.get("finish_reason") or "unknown")
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        refusal = message.get("refusal") or ""
        f"{text}{reasoning}{finish_reason}".encode()  # half a surrogate pair cannot be stored
        if not (isinstance(text, str) and isinstance(reasoning, str)):
            raise TypeError("the text is no text")
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeEncodeError):
        raise AttemptFailed("malformed", "the response holds no choices[0] with a text") from None
    usage = body.get("usage")
    prompt_tokens = _tokens(usage, "prompt_tokens", request.most_prompt_tokens)
    completion_tokens = _tokens(usage, "completion_tokens", request.sampling.max_tokens)
    if request.messages is not None and (thought := THOUGHT.match(text)):
        reasoning, text = reasoning or thought[1].strip(), text[thought.end() :]
    fault = name_answer(text, finish_reason, str(refusal))
    return Answer(text, reasoning, finish_reason, prompt_tokens, completion_tokens, fault)


def _connect(settings: EndpointSettings, key: "SecretStr | None") -> "openai.AsyncOpenAI":
    """The library's client, that takes nothing but these arguments for granted."""
    import httpx2
    import openai

    class Library(openai.AsyncOpenAI):
        """Sends our headers and no others: not OPENAI_CUSTOM_HEADERS, not the machine's."""

        @property
        def default_headers(self) -> dict[str, str | openai.Omit]:
            return HEADERS

    timeout = openai.Timeout(None, connect=CONNECT_SECONDS)  # the whole is timed by _send
    return Library(
        api_key=NO_KEY if key is None else key.get_secret_value(),
        organization="",
        project="",
        webhook_secret="",
        base_url=settings.base_url,
        timeout=timeout,
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(
            timeout=timeout,
            limits=httpx2.Limits(
                max_connections=settings.max_in_flight,
                max_keepalive_connections=settings.max_in_flight,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
            # The person's proxies and certificates; no proxy stands before loopback.
            trust_env=not settings.on_loopback,
        ),
    )


def _options(key: "SecretStr | None") -> "RequestOptions":
    """What every request is sent with."""
    import openai

    omitted: dict[str, str | openai.Omit] = {"x-stainless-retry-count": openai.omit}
    if key is None:
        omitted["Authorization"] = openai.omit
    return {"headers": omitted}


def _tokens(usage: Any, name: str, most: int) -> int:
    """A count of tokens from the usage; `most` where it tells none."""
    told = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(told, int | float) and 0 <= told < MOST_TOKENS:
        return int(told)
    return most


def _read_json(content: bytes) -> Any:
    """The value; None where it is no JSON."""
    try:
        return json.loads(content)
    except ValueError:
        return None
