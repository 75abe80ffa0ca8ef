"""Judges' prompts: Jinja2 files with a version, under `judging/prompts/<language>/<name>.j2`.

A file begins with front matter (YAML between two lines `---`) that holds `version`.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError

from artifacts.digest import digest_file
from judging.errors import JudgePromptError
from judging.rubric_files import rubric_path
from validation.schemas import Language

PROMPTS = Path(__file__).with_name("prompts")
MARK = "---\n"


def render_prompt(language: Language, name: str, **values: Any) -> str:
    """A judge's prompt, filled in.

    Raises JudgePromptError where the file is absent or lacks a version, or asks for a value that
    is not given.
    """
    try:
        prompt = _environment().get_template(f"{language}/{name}")
        return prompt.render(language=language, **values).strip()
    except TemplateError as error:
        raise JudgePromptError(
            f"the judges' prompt {language}/{name}: {error}; given were {sorted(values)}"
        ) from error


def judging_digests(rubric: str) -> dict[str, str]:
    """Name → digest of every file that decides what judges are asked, in order of name."""
    files = {
        f"judging/{path.relative_to(PROMPTS).with_suffix('')}": digest_file(path)
        for path in sorted(PROMPTS.glob("*/*.j2"))
    }
    return files | {f"judging/rubric {Path(rubric).name}": digest_file(rubric_path(rubric))}


def _read(name: str) -> str:
    """The text of a prompt below its front matter; `name` is `<language>/<name>`."""
    path = PROMPTS / f"{name}.j2"
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.j2"))
        raise JudgePromptError(f"there is no prompt {path}; in its folder are: {there}")
    content = path.read_text(encoding="utf-8")
    _, mark, rest = content.partition(MARK)
    front, end, body = rest.partition(MARK)
    if not (content.startswith(MARK) and mark and end):
        raise JudgePromptError(f"{path}: it must begin with YAML between two lines `---`")
    matter = yaml.safe_load(front)
    if not isinstance(matter, dict) or not isinstance(matter.get("version"), int):
        raise JudgePromptError(f"{path}: the front matter must hold `version: <whole number>`")
    return body


@cache
def _environment() -> Environment:
    # Prompts are plain text, never HTML. They include each other by `<language>/<name>`.
    return Environment(
        loader=FunctionLoader(_read),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
