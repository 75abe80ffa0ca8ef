"""A fake OpenAI-compatible server: slots, latency, and every fault that a real one has.

In tests: `with FakeLLM(reply=lambda body: "hello", faults=["rate_limit", None]) as server:`
then `server.base_url`, `server.requests`. For benchmarks, in a process of its own:
`python -m tests.fake_llm --port 0 --latency-seconds 1 --slots 256` prints its URL first.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.fake_batches import FakeBatches
from tests.fake_stream import stream_answer

Body = dict[str, Any]
FaultKind = Literal[
    "rate_limit",
    "quota",
    "server",
    "unavailable",
    "timeout",
    "reset",
    "html",
    "malformed",
    "no_choices",
    "empty",
    "truncated",
    "aborted",
    "refused",
    "content_filter",
    "bad_request",
    "echo_key",
    "echo_page",
    "error_body",
    "cut_stream",
    "unended_stream",
]
# What a benchmark mixes: nothing but what passes, and answers that must not be kept.
MIXED_FAULTS: tuple[FaultKind, ...] = (
    "rate_limit",
    "server",
    "unavailable",
    "reset",
    "html",
    "empty",
    "truncated",
)
WORDS = ("pain", "fever", "rest", "water", "since", "left", "right", "mild", "often", "never")
FINISH_REASONS = {"truncated": "length", "aborted": "abort", "content_filter": "content_filter"}
STREAMING = ("stream", "stream_options")
# A length of its own keeps a stuck test from stopping the whole suite.
TIMEOUT_FAULT_SECONDS = 3600.0


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    path: str
    body: Body
    headers: dict[str, str]


@dataclass
class Behaviour:
    """What the server does; `faults` is used up one per request, None meaning no fault."""

    reply: Callable[[Body], str]
    latency_seconds: float = 0.0
    slots: int = 4096
    refuse_when_full: bool = False
    models: tuple[str, ...] = ("fake",)
    aliases: tuple[str, ...] = ()
    key: str | None = None
    faults: Iterator[FaultKind | None] = field(default_factory=lambda: iter(()))
    retry_after_seconds: float | None = None
    limit_headers: Mapping[str, str] = field(default_factory=dict)
    record: bool = True
    cached_tokens: int | None = None
    batches: FakeBatches = field(default_factory=FakeBatches)


class Busy:
    """How many requests run, how many ran at most, and the tokens of all answers given."""

    def __init__(self, slots: int) -> None:
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.slots = asyncio.Semaphore(slots)
        self.now = 0
        self.most = 0
        self.refused = 0

    async def __aenter__(self) -> None:
        await self.slots.acquire()
        self.now += 1
        self.most = max(self.most, self.now)

    async def __aexit__(self, *_: object) -> None:
        self.now -= 1
        self.slots.release()


def default_reply(body: Body) -> str:
    """A short line that depends on the whole body and on nothing else."""
    body = {name: value for name, value in body.items() if name not in STREAMING}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[:8]) + f" {digest[:4].hex()}."


def make_app(behaviour: Behaviour, seen: list[Seen], busy: Busy) -> web.Application:
    """The routes of the protocol that we use; those of batches stand in `fake_batches`."""

    async def models(request: web.Request) -> web.Response:
        if refusal := _unauthorised(request, behaviour):
            return refusal
        return web.json_response(
            {"object": "list", "data": [{"id": m, "object": "model"} for m in behaviour.models]}
        )

    async def complete(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if behaviour.record:
            seen.append(Seen(request.path, body, dict(request.headers)))
        if refusal := _unauthorised(request, behaviour) or _unknown(body, behaviour):
            return refusal
        fault = next(behaviour.faults, None)
        if behaviour.refuse_when_full and busy.slots.locked():
            busy.refused += 1
            fault = "rate_limit"
        if early := _early_fault(request, behaviour, fault):
            return early
        async with busy:
            if fault == "timeout":
                await asyncio.sleep(TIMEOUT_FAULT_SECONDS)
            if behaviour.latency_seconds:
                await asyncio.sleep(behaviour.latency_seconds)
            if fault == "reset":
                assert request.transport is not None
                request.transport.abort()
            answer = _answer(request.path, body, behaviour, fault, busy)
            headers = dict(behaviour.limit_headers)
            if body.get("stream"):
                cut, ended = fault == "cut_stream", fault != "unended_stream"
                return await stream_answer(request, body, answer, headers, cut, ended)
            return web.json_response(answer, headers=headers)

    app = web.Application(client_max_size=64 << 20)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/v1/completions", complete)
    behaviour.batches.mount(
        app,
        lambda path, body, fault: _answer(path, body, behaviour, fault, busy),
        lambda request: _unauthorised(request, behaviour),
    )
    return app


def _error(status: int, message: str, code: str, **headers: str) -> web.Response:
    body = {"error": {"message": message, "type": code, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def _unauthorised(request: web.Request, behaviour: Behaviour) -> web.Response | None:
    given = request.headers.get("Authorization", "")
    if behaviour.key is None or given == f"Bearer {behaviour.key}":
        return None
    return _error(401, f"Incorrect API key provided: {given}", "invalid_api_key")


def _unknown(body: Body, behaviour: Behaviour) -> web.Response | None:
    if body.get("model") in behaviour.models + behaviour.aliases:
        return None
    return _error(404, f"The model `{body.get('model')}` does not exist", "model_not_found")


def _early_fault(
    request: web.Request, behaviour: Behaviour, fault: FaultKind | None
) -> web.Response | None:
    after = behaviour.retry_after_seconds
    headers = {"Retry-After": f"{after:g}"} if after is not None else {}
    headers |= behaviour.limit_headers
    if fault == "error_body":
        told = {"code": 429, "message": "Provider returned error"}
        return web.json_response({"error": told}, headers=headers)
    if fault == "rate_limit":
        return _error(429, "Rate limit reached", "rate_limit_exceeded", **headers)
    if fault == "quota":
        return _error(429, "You exceeded your current quota", "insufficient_quota")
    if fault == "server":
        return _error(500, "The server had an error", "server_error", **headers)
    if fault == "unavailable":
        return _error(503, "Overloaded", "overloaded", **headers)
    if fault == "bad_request":
        return _error(400, "This model's maximum context length is 10 tokens", "context_length")
    if fault == "echo_key":
        return _error(400, f"bad header {request.headers.get('Authorization')}", "bad")
    if fault == "echo_page":
        page = f"<html>{'.' * 90}{request.headers.get('Authorization')}"
        return web.Response(text=page, content_type="text/html")
    if fault == "html":
        return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
    if fault == "malformed":
        return web.Response(text='{"choices": [{"mess', content_type="application/json")
    if fault == "no_choices":
        return web.json_response({"object": "error", "choices": []})
    return None


def _answer(
    path: str, body: Body, behaviour: Behaviour, fault: FaultKind | None, busy: Busy
) -> Body:
    text = "" if fault in ("empty", "refused", "content_filter") else behaviour.reply(body)
    reason = FINISH_REASONS.get(fault or "", "stop")
    if fault in ("truncated", "aborted"):
        text = text[: len(text) // 2]
    choice: Body = {"index": 0, "finish_reason": reason}
    if path == "/v1/completions":
        choice["text"] = text
        prompt = body["prompt"]
    else:
        refusal = "I cannot help with that." if fault == "refused" else None
        choice["message"] = {"role": "assistant", "content": text, "refusal": refusal}
        prompt = " ".join(_text(m["content"]) for m in body["messages"])
    used: Body = {"prompt_tokens": count_tokens(prompt), "completion_tokens": count_tokens(text)}
    busy.prompt_tokens += used["prompt_tokens"]
    busy.completion_tokens += used["completion_tokens"]
    used["total_tokens"] = sum(used.values())
    if behaviour.cached_tokens is not None:
        used["prompt_tokens_details"] = {"cached_tokens": behaviour.cached_tokens}
    whole = {"id": "fake", "object": "completion", "model": body["model"], "choices": [choice]}
    return whole | {"usage": used}


def _text(content: str | list[Body]) -> str:
    """A message's text; some clients send it as a list of parts."""
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


def mixed_faults(share: float, seed: int) -> Iterator[FaultKind | None]:
    """Faults of all kinds that pass, in that share of the requests, drawn by the seed."""
    dice = random.Random(seed)
    while True:
        yield dice.choice(MIXED_FAULTS) if dice.random() < share else None


def count_tokens(text: str) -> int:
    """The fake's tokenizer: one token for four bytes, rounded up."""
    return -(-len(text.encode()) // 4)


class FakeLLM:
    """The server in a thread of its own, on a free port of loopback, for one test.

    `reply` turns a request's body into the answer's text. `faults`: one per request in the
    order in which they come, None meaning none. `requests` are those seen so far.
    """

    def __init__(
        self,
        reply: Callable[[Body], str] = default_reply,
        latency_seconds: float = 0.0,
        slots: int = 4096,
        refuse_when_full: bool = False,
        models: Iterable[str] = ("fake",),
        aliases: Iterable[str] = (),
        key: str | None = None,
        faults: Iterable[FaultKind | None] = (),
        retry_after_seconds: float | None = None,
        cached_tokens: int | None = None,
        batches: FakeBatches | None = None,
        limit_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.behaviour = Behaviour(
            reply=reply,
            latency_seconds=latency_seconds,
            slots=slots,
            refuse_when_full=refuse_when_full,
            models=tuple(models),
            aliases=tuple(aliases),
            key=key,
            faults=iter(faults),
            retry_after_seconds=retry_after_seconds,
            cached_tokens=cached_tokens,
            batches=batches or FakeBatches(),
            limit_headers=limit_headers or {},
        )
        self.requests: list[Seen] = []
        self.base_url = ""
        self.busy = Busy(slots)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def batches(self) -> FakeBatches:
        return self.behaviour.batches

    @property
    def most_at_once(self) -> int:
        return self.busy.most

    @property
    def billed_prompt_tokens(self) -> int:
        return self.busy.prompt_tokens

    @property
    def billed_completion_tokens(self) -> int:
        return self.busy.completion_tokens

    def __enter__(self) -> "FakeLLM":
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the fake server did not start within 30 s")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runner, self.base_url = await start(self.behaviour, self.requests, self.busy, 0)
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()


async def start(
    behaviour: Behaviour, seen: list[Seen], busy: Busy, port: int
) -> tuple[web.AppRunner, str]:
    """Listen on loopback; returns the runner to clean up, and the base URL with /v1."""
    runner = web.AppRunner(
        make_app(behaviour, seen, busy),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


async def serve_until_signalled(behaviour: Behaviour, port: int) -> None:
    """Print the URL, and serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    busy = Busy(behaviour.slots)
    runner, base_url = await start(behaviour, [], busy, port)
    print(base_url, flush=True)
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:  # ends with the process that began it
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue
    await runner.cleanup()


def main() -> None:
    """Serve from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--models", default="fake", help="names, separated by commas")
    parser.add_argument("--fault-share", type=float, default=0.0, help="of requests, all kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    arguments = parser.parse_args()
    behaviour = Behaviour(
        reply=default_reply,
        latency_seconds=arguments.latency_seconds,
        slots=arguments.slots,
        models=tuple(arguments.models.split(",")),
        faults=mixed_faults(arguments.fault_share, arguments.seed),
        record=False,
    )
    asyncio.run(serve_until_signalled(behaviour, arguments.port))


if __name__ == "__main__":
    main()
