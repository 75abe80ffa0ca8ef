from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.progress import silent
from artifacts.step import Workspace
from datagen.access import LlmAccess
from datagen.cases import Case, read_library
from datagen.prompting import read_prompt, render
from datagen.scripted import scripted_messages
from endpoints.settings import EndpointSettings
from tests.fake_llm import Body
from tests.structured_replies import structured_reply

LIBRARY = read_library()
HELLO = {language: render(read_prompt(language, "chat", "greeting")) for language in ("en", "zh")}


def case_of(language: str) -> Case:
    return next(case for case in LIBRARY if case.language == language)


class ScriptPlayer:
    """Plays each case's scripted consultation over either route, whatever is asked."""

    def __init__(self, cases: tuple[Case, ...] = LIBRARY) -> None:
        self.scripts = [scripted_messages(case) for case in cases]

    def __call__(self, body: Body) -> str:
        if (shaped := structured_reply(body)) is not None:
            return shaped
        return self.chat(body["messages"]) if "messages" in body else self.transcript(body)

    def chat(self, messages: list[dict[str, str]]) -> str:
        contents = [m["content"] for m in messages[1:]]
        if len(messages) == 1:
            return "An altogether different and rather careless remark, is it not?"
        patient = contents[0] in HELLO.values()
        said = contents[1:] if patient else contents
        system = messages[0]["content"]
        if not said:
            return next(case.opening for case in LIBRARY if case.history in system)
        closing = "Ask nothing more" in system or "不再提问" in system
        return self._next(said[0], len(said), closing)

    def transcript(self, body: Body) -> str:
        talk = body["prompt"].rsplit("\n\n", 1)[1].splitlines()
        lines = [
            line for line in talk if not line.startswith(("Case:", "病例：", "Fact:", "事实："))
        ]
        opening = lines[0].split("：" if "：" in lines[0][:4] else ": ", 1)[1]
        closing = lines[-1].startswith(("Doctor advises", "医生建议"))
        return " " + self._next(opening, len(lines) - 1, closing) + "\n"

    def _next(self, opening: str, place: int, closing: bool) -> str:
        script = next(s for s in self.scripts if s[0].content == opening)
        return script[-1 if closing else place].content


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Workspace]:
    def make(name: str = "step", **inputs: Path) -> Workspace:
        out, state = tmp_path / name / "out", tmp_path / name / "state"
        out.mkdir(parents=True, exist_ok=True)
        state.mkdir(parents=True, exist_ok=True)
        return Workspace(out=out, state=state, inputs=inputs, progress=silent)

    return make


@pytest.fixture
def access(tmp_path: Path) -> Callable[..., LlmAccess]:
    def make(base_url: str, style: str = "chat", **fields: Any) -> LlmAccess:
        values = {"name": "fake", "model": "fake", "free": True} | fields
        endpoint = EndpointSettings(base_url=base_url, style=style, **values)
        return LlmAccess(endpoint=endpoint, journal=tmp_path / "journal.sqlite")

    return make
