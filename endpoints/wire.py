"""One attempt of one request over HTTP: what is sent, and what the response means.

The OpenAI protocol is spoken on aiohttp itself: the `openai` library costs 1.2 ms of CPU a
call where this costs 0.3 (measured November 2026: alone, at 256 calls of 1 s in flight, it
reaches 86 % of the ideal rate, aiohttp 95 %), takes a second to import, and would add what
it finds in the person's OPENAI_* variables and about this machine.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from endpoints.errors import EndpointError, FaultName
from endpoints.faults import OVERLOADED, POLICIES, name_answer, name_status, retry_after_seconds
from endpoints.request import ChatRequest
from endpoints.settings import EndpointSettings, read_key

if TYPE_CHECKING:
    import aiohttp
    from pydantic import SecretStr

CONNECT_SECONDS = 5.0
MOST_DETAIL_CHARACTERS = 300
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
        self._session: aiohttp.ClientSession | None = None
        self._base_url = (settings.base_url or "").rstrip("/")
        self._proxy = _proxy(settings)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def open(self) -> "aiohttp.ClientSession":
        """The pool; reads the key when it is first opened. Raises KeyMissing."""
        if self._session is None:
            self._key = read_key(self._settings, self._environment)
            self._session = _connect(self._settings, self._key)
        return self._session

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
                names.update(n for n in (model.get("id"), *(model.get("aliases") or ())) if n)
        return tuple(sorted(names))

    async def _send(self, verb: str, path: str, body: bytes | None) -> Any:
        """The JSON value of a response with status 200. Raises AttemptFailed, KeyMissing."""
        import aiohttp

        session = self.open()
        url = self._base_url + path
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                async with session.request(verb, url, data=body, proxy=self._proxy) as response:
                    content = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            detail = str(error) or f"no connection within {CONNECT_SECONDS:g} s"
            raise AttemptFailed("connection", self._safe(detail), reached=False) from None
        except TimeoutError:
            seconds = self._settings.timeout_seconds
            raise AttemptFailed("timeout", f"no answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            detail = self._safe(f"{type(error).__name__}: {error}")
            raise AttemptFailed("connection", detail) from None
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if response.status != 200:
            raise self._refused(response.status, response.headers, value)
        if value is None:
            start = self._safe(content[:120].decode(errors="replace"))
            raise AttemptFailed("malformed", f"the response is not JSON: {start!r}")
        return value

    def _refused(self, status: int, headers: Mapping[str, str], body: Any) -> AttemptFailed:
        error = body.get("error", body) if isinstance(body, dict) else body
        told = error if isinstance(error, dict) else {"message": error}
        fault = name_status(status, str(told.get("code") or told.get("type") or ""))
        text = self._safe(str(told.get("message") or ""))
        # A refusal of the key may repeat a part of it.
        detail = f"HTTP {status}" + (f": {text}" if text and fault != "authentication" else "")
        return AttemptFailed(
            fault,
            detail,
            retry_after_seconds=retry_after_seconds(headers),
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

    Where the endpoint tells no usage, the upper bounds of the request stand for it.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"] if request.messages is not None else choice
        text = message["content" if request.messages is not None else "text"] or ""
        finish_reason = str(choice.get("finish_reason") or "unknown")
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        refusal = message.get("refusal") or ""
        usage = body.get("usage") or {}
        prompt_tokens = int(usage.get("prompt_tokens", request.most_prompt_tokens))
        completion_tokens = int(usage.get("completion_tokens", request.sampling.max_tokens))
        f"{text}{reasoning}{finish_reason}".encode()  # half a surrogate pair cannot be stored
        if not (isinstance(text, str) and isinstance(reasoning, str)):
            raise TypeError("the text is no text")
        if not (0 <= prompt_tokens < MOST_TOKENS and 0 <= completion_tokens < MOST_TOKENS):
            raise ValueError("the usage makes no sense")
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError):
        detail = "the response holds no choices[0] with a text, or no sensible usage"
        raise AttemptFailed("malformed", detail) from None
    if request.messages is not None and (thought := THOUGHT.match(text)):
        reasoning, text = reasoning or thought[1].strip(), text[thought.end() :]
    fault = name_answer(text, finish_reason, str(refusal))
    return Answer(text, reasoning, finish_reason, prompt_tokens, completion_tokens, fault)


def _connect(settings: EndpointSettings, key: "SecretStr | None") -> "aiohttp.ClientSession":
    import aiohttp

    headers = {"User-Agent": "medfactory", "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.max_in_flight, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        trust_env=False,  # else it would send what it finds in the person's .netrc
    )


def _proxy(settings: EndpointSettings) -> str | None:
    """The proxy that the person's environment names for this endpoint; none for loopback."""
    url = urlsplit(settings.base_url or "")
    if settings.on_loopback or proxy_bypass(url.hostname or ""):
        return None
    return getproxies().get(url.scheme)
