"""The files of generation's artifacts: one JSON value a line, in a fixed order."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError

from datagen.cases import Case
from datagen.errors import DamagedInput
from validation.schemas import Conversation

CONVERSATIONS = "conversations.jsonl"
PATIENT_SIDE = "patient_side.jsonl"
CASES = "cases.jsonl"
FAILED = "failed.jsonl"
SCRIPTED = "scripted.jsonl"
PREFERENCES = "preferences.jsonl"
PASSAGES = "passages.jsonl"
PROBLEMS = "problems.jsonl"
JUDGEMENTS = "judgements.jsonl"

ValueT = TypeVar("ValueT", bound=BaseModel)


def write_lines(path: Path, values: Iterable[BaseModel]) -> None:
    """Write one JSON text a line, over what stood there."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for value in values:
            stream.write(value.model_dump_json() + "\n")


class LineWriter:
    """A JSONL file that is written line by line, a context manager.

    Over what stood there, or (`add`) after it.
    """

    def __init__(self, path: Path, add: bool = False) -> None:
        self.written = 0
        self._stream = path.open("a" if add else "w", encoding="utf-8", newline="\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def write(self, value: BaseModel) -> None:
        """Add one line."""
        self._stream.write(value.model_dump_json() + "\n")
        self.written += 1


def read_conversations(folder: Path) -> Iterator[Conversation]:
    """The conversations of an artifact. Raises DamagedInput naming the line at fault."""
    return read_lines(folder / CONVERSATIONS, Conversation)


def read_cases(folder: Path) -> dict[str, Case]:
    """The cases of an artifact, by case_id. Raises DamagedInput naming the line at fault."""
    return {case.case_id: case for case in read_lines(folder / CASES, Case)}


def read_lines(path: Path, kind: type[ValueT]) -> Iterator[ValueT]:
    """The values of a JSONL file. Raises DamagedInput naming the line at fault."""
    if not path.is_file():
        raise DamagedInput(f"{path} is absent: generate the conversations again")
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                raise DamagedInput(f"{path}:{number} is no {kind.__name__}: {error}") from error
