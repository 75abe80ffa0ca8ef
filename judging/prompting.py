"""Judges' prompts: Jinja2 files with a version, under `judging/prompts/<language>/<name>.j2`.

A file begins with front matter (YAML between two lines `---`) that holds `version`.
"""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError

from artifacts.digest import digest_file
from judging.errors import JudgePromptError
from judging.prompt_files import read_prompt_file
from judging.rubric_files import rubric_path
from validation.schemas import Language

PROMPTS = Path(__file__).with_name("prompts")


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
    try:
        return read_prompt_file(PROMPTS / f"{name}.j2")[1]
    except ValueError as error:
        raise JudgePromptError(str(error)) from None


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
