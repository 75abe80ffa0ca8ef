"""Prompts: Jinja2 files with a version, under `prompts/<language>/<style>/<name>.j2`.

A file begins with front matter (YAML between two lines `---`) that holds `version`.
The digests of the files enter the keys of the steps: an edited prompt makes new data.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined, Template, TemplateError

from artifacts.digest import digest_file
from datagen.errors import PromptError
from judging.prompt_files import read_prompt_file
from validation.schemas import Frozen, Language, NonBlank

PROMPTS = Path(__file__).with_name("prompts")

Style = Literal["chat", "transcript"]


class Prompt(Frozen):
    """One prompt file: its name (`en/chat/doctor`), version, digest and template text."""

    name: NonBlank
    version: int
    digest: NonBlank
    text: NonBlank


@cache
def read_prompt(language: Language, style: Style, name: str, folder: Path = PROMPTS) -> Prompt:
    """Read one prompt. Raises PromptError naming the file and what it lacks."""
    path = folder / language / style / f"{name}.j2"
    try:
        version, body = read_prompt_file(path)
    except ValueError as error:
        raise PromptError(str(error)) from None
    return Prompt(
        name=f"{language}/{style}/{name}",
        version=version,
        digest=digest_file(path),
        text=body.strip("\n"),
    )


def render(prompt: Prompt, **values: Any) -> str:
    """Fill a prompt in. Raises PromptError where it asks for a value that is not given."""
    try:
        return _template(prompt.text).render(**values)
    except TemplateError as error:
        raise PromptError(f"prompt {prompt.name}: {error}; given were {sorted(values)}") from error


def prompt_digests(style: Style, languages: tuple[Language, ...]) -> dict[str, str]:
    """Name → digest of every prompt of a style, in order of name."""
    return {
        f"{language}/{style}/{path.stem}": digest_file(path)
        for language in sorted(languages)
        for path in sorted((PROMPTS / language / style).glob("*.j2"))
    }


@cache
def _template(text: str) -> Template:
    # Compiling takes 2 ms, as much as all the rest of a call (measured November 2026).
    return _environment().from_string(text)


@cache
def _environment() -> Environment:
    # Prompts are plain text, never HTML.
    return Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
