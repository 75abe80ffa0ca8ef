"""A streamed response (server-sent events), put together to what it would be in one piece."""

from typing import Any

from endpoints.answers import AttemptFailed, read_json

DONE = b"[DONE]"
TEXTS = ("content", "reasoning_content", "reasoning", "refusal", "text")


class StreamedBody:
    """Takes the bytes of a stream as they come; `body` is the whole response."""

    def __init__(self) -> None:
        self._rest = b""
        self._texts: dict[str, list[str]] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._error: Any = None
        self._done = False

    @property
    def begun(self) -> bool:
        """Whether a part of an answer has come, which may be billed."""
        return bool(self._texts)

    def feed(self, data: bytes) -> None:
        """Add bytes. Raises AttemptFailed (`malformed`) for an event that is no JSON."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read_line(line.strip())

    def body(self, chat: bool) -> dict[str, Any]:
        """The response as one JSON value. Raises AttemptFailed where the stream did not end."""
        self.feed(b"\n")
        if self._error is not None:
            return {"error": self._error}
        if not self._done and self._finish_reason is None:
            raise AttemptFailed(
                "malformed", "the stream ended with neither a finish_reason nor [DONE]"
            )
        texts: dict[str, Any] = {name: "".join(parts) for name, parts in self._texts.items()}
        choice: dict[str, Any] = {"finish_reason": self._finish_reason}
        choice |= {"message": {"content": None} | texts} if chat else {"text": ""} | texts
        return {"choices": [choice], "usage": self._usage}

    def _read_line(self, line: bytes) -> None:
        if self._done or not line.startswith(b"data:"):
            return  # comments that keep the connection alive, names of events
        data = line[5:].strip()
        if data == DONE:
            self._done = True
        if not data or data == DONE:
            return
        event = read_json(data)
        if not isinstance(event, dict):
            raise AttemptFailed("malformed", "an event of the stream is not JSON")
        self._error = self._error or event.get("error")
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._read_choice(choices[0])

    def _read_choice(self, choice: dict[str, Any]) -> None:
        self._error = self._error or choice.get("error")
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta")
        said = delta if isinstance(delta, dict) else choice
        for name in TEXTS:
            if isinstance(text := said.get(name), str) and text:
                self._texts.setdefault(name, []).append(text)
