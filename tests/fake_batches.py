"""The files and batches of the fake server: batches that end well, expire, fail or get lost."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

from aiohttp import web

Body = dict[str, Any]
Answer = Callable[[str, Body, Any], Body]
Refuse = Callable[[web.Request], web.Response | None]
# What happens to one line: an answer of its own kind, an error, or nothing at all.
LineFault = Literal[
    "empty",
    "truncated",
    "no_choices",
    "bad_request",
    "server",
    "expired",
    "missing",
]
BAD = {"message": "This model's maximum context length is 10 tokens", "code": "context_length"}
DOWN = {"message": "The server had an error", "code": "server_error"}
EXPIRED = {"message": "This request could not be executed in time", "code": "batch_expired"}


class FakeBatches:
    """`faults`: one per line, in the order in which they come, None meaning an answer.

    `polls`: how often a batch is looked at before it ends. `end`: how it ends. `problem`: the
    error of a batch that fails. `create_seconds`: how long the answer to a creation takes, after
    the batch exists; `upload_seconds` likewise. `lost_creations`: connections that break there;
    `broken_downloads`: those that break in the middle of a file.
    """

    def __init__(
        self,
        faults: Iterable[LineFault | None] = (),
        polls: int = 1,
        end: str = "completed",
        problems: Iterable[str | None] = (),
        upload_seconds: float = 0.0,
        create_seconds: float = 0.0,
        lost_creations: int = 0,
        broken_downloads: int = 0,
    ) -> None:
        self.faults = iter(faults)
        self.polls = polls
        self.end = end
        self.problems = iter(problems)
        self.upload_seconds = upload_seconds
        self.create_seconds = create_seconds
        self.lost_creations = lost_creations
        self.broken_downloads = broken_downloads
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Body] = {}
        self.looks: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()  # requests of batches that were made, by custom_id
        self.headers: list[dict[str, str]] = []

    def mount(self, app: web.Application, answer: Answer, refuse: Refuse) -> None:
        self._answer, self._refuse = answer, refuse
        app.router.add_post("/v1/files", self._guarded(self._upload))
        app.router.add_get("/v1/files/{id}/content", self._guarded(self._content))
        app.router.add_post("/v1/batches", self._guarded(self._create))
        app.router.add_get("/v1/batches", self._guarded(self._list))
        app.router.add_get("/v1/batches/{id}", self._guarded(self._retrieve))

    def forget(self) -> None:
        """Lose all batches, as an endpoint may after their time."""
        self.batches.clear()

    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.headers.append(dict(request.headers))
            response: web.StreamResponse = self._refuse(request) or await handler(request)
            return response

        return guarded

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        part = form["file"]
        assert isinstance(part, web.FileField)
        ident = f"file-{len(self.files)}"
        with part.file as stream:
            self.files[ident] = stream.read()
        await asyncio.sleep(self.upload_seconds)
        return web.json_response(
            {"id": ident, "object": "file", "bytes": len(self.files[ident]), "created_at": 0}
            | {"filename": part.filename, "purpose": "batch", "status": "processed"}
        )

    async def _content(self, request: web.Request) -> web.StreamResponse:
        content = self.files[request.match_info["id"]]
        if not self.broken_downloads:
            return web.Response(body=content)
        self.broken_downloads -= 1
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        assert {line["url"] for line in lines} == {body["endpoint"]}
        ident = f"batch_{len(self.batches)}"
        batch = self.batches[ident] = {
            "id": ident,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "metadata": body.get("metadata"),
            "created_at": 0,
            "status": "in_progress",
        }
        problem = next(self.problems, None)
        if problem is not None:
            batch["errors"] = {"object": "list", "data": [{"code": problem, "message": "no"}]}
        else:
            self._run(batch, lines)
        if self.lost_creations:
            self.lost_creations -= 1
            assert request.transport is not None
            request.transport.abort()
        await asyncio.sleep(self.create_seconds)
        return web.json_response(self._shown(batch))

    def _run(self, batch: Body, lines: list[Body]) -> None:
        good, bad = [], []
        for line in lines:
            self.asked[line["custom_id"]] += 1
            fault = next(self.faults, None)
            if fault == "missing":
                continue
            made: Body = {"id": "x", "custom_id": line["custom_id"], "error": None}
            if fault == "expired":
                bad.append(made | {"response": None, "error": EXPIRED})
            elif fault in ("bad_request", "server"):
                status, error = (400, BAD) if fault == "bad_request" else (500, DOWN)
                response = {"status_code": status, "request_id": "r", "body": {"error": error}}
                bad.append(made | {"response": response})
            else:
                body = self._answer(line["url"], line["body"], fault)
                if fault == "no_choices":
                    body["choices"] = []
                response = {"status_code": 200, "request_id": "r", "body": body}
                good.append(made | {"response": response})
        for name, made_lines in (("output_file_id", good), ("error_file_id", bad)):
            if made_lines:
                batch[name] = f"file-{len(self.files)}"
                self.files[batch[name]] = b"".join(
                    json.dumps(line).encode() + b"\n" for line in reversed(made_lines)
                )

    def _shown(self, batch: Body) -> Body:
        """A batch as it is told: without its files before its end."""
        ended = self.looks[batch["id"]] >= self.polls
        hidden = () if ended else ("output_file_id", "error_file_id", "errors")
        status = ("failed" if "errors" in batch else self.end) if ended else "in_progress"
        return {k: v for k, v in batch.items() if k not in hidden} | {"status": status}

    async def _list(self, request: web.Request) -> web.Response:
        idents = list(reversed(self.batches))
        after = request.query.get("after")
        rest = idents[idents.index(after) + 1 :] if after else idents
        page = rest[:2]  # pages are turned
        return web.json_response(
            {"object": "list", "data": [self._shown(self.batches[i]) for i in page]}
            | {"has_more": len(rest) > len(page), "last_id": page[-1] if page else None}
        )

    async def _retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            error = {"message": "No such batch", "type": "invalid_request_error", "code": None}
            return web.json_response({"error": error}, status=404)
        shown = self._shown(batch)
        self.looks[batch["id"]] += 1
        return web.json_response(shown)
