"""The files of generation's artifacts: one JSON value a line, in a fixed order."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from datagen.cases import Case
from datagen.errors import DamagedInput
from validation.schemas import Conversation

CONVERSATIONS = "conversations.jsonl"
CASES = "cases.jsonl"

ValueT = TypeVar("ValueT", bound=BaseModel)


def write_lines(path: Path, values: Iterable[BaseModel]) -> None:
    """Write one JSON text a line, over what stood there."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for value in values:
            stream.write(value.model_dump_json() + "\n")


def read_conversations(folder: Path) -> list[Conversation]:
    """The conversations of an artifact. Raises DamagedInput naming the line at fault."""
    return _read(folder / CONVERSATIONS, Conversation)


def read_cases(folder: Path) -> dict[str, Case]:
    """The cases of an artifact, by case_id. Raises DamagedInput naming the line at fault."""
    return {case.case_id: case for case in _read(folder / CASES, Case)}


def _read(path: Path, kind: type[ValueT]) -> list[ValueT]:
    if not path.is_file():
        raise DamagedInput(f"{path} is absent: generate the conversations again")
    values = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                values.append(kind.model_validate_json(line))
            except ValidationError as error:
                raise DamagedInput(f"{path}:{number} is no {kind.__name__}: {error}") from error
    return values
