"""How the fake server streams an answer: server-sent events, in pieces that end anywhere."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

PIECE_BYTES = 50
PIECE_CHARACTERS = 7


async def stream_answer(
    request: web.Request,
    body: dict[str, Any],
    answer: dict[str, Any],
    headers: Mapping[str, str],
    cut: bool = False,
    ended: bool = True,
) -> web.StreamResponse:
    """Send the answer to a request of that body in pieces.

    `cut`: the connection breaks half way. `ended` False: no finish_reason and no [DONE] come.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
    await response.prepare(request)
    sent = b"".join(_events(body, answer, ended))
    if cut:
        sent = sent[: len(sent) // 2]
    for start in range(0, len(sent), PIECE_BYTES):
        await response.write(sent[start : start + PIECE_BYTES])
    if cut:
        assert request.transport is not None
        request.transport.abort()
    return response


def _events(body: dict[str, Any], answer: dict[str, Any], ended: bool) -> Iterator[bytes]:
    yield b": keep-alive\n\n"
    choice = answer["choices"][0]
    said = choice.get("message") or {"text": choice["text"]}
    for name, text in said.items():
        for start in range(0, len(text or ""), PIECE_CHARACTERS):
            piece = {name: text[start : start + PIECE_CHARACTERS]}
            yield _event({"choices": [{"delta": piece} if "message" in choice else piece]})
    if not ended:
        return
    yield _event({"choices": [{"delta": {}, "finish_reason": choice["finish_reason"]}]})
    if body.get("stream_options", {}).get("include_usage"):
        yield _event({"choices": [], "usage": answer["usage"]})
    yield b"data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"
