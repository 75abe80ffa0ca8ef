"""A fake teacher that is told what to answer, and a short way through the step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from artifacts.step import Built
from datagen.files import FAILED
from datagen.generators.building import FILES, build_generated
from tests.fake_llm import Body, FakeLLM
from validation.schemas import RECORDS, Quarantined, Record


@dataclass(frozen=True)
class Outcome:
    """What a build wrote, and what the server saw."""

    built: Built
    records: list[Any]
    failed: list[Quarantined]
    requests: list[Body]
    files: dict[str, bytes]

    @property
    def faults(self) -> dict[str, int]:
        """Quarantined rows by fault."""
        return dict(self.built.summary["failed"])


def language_in(body: Body) -> str:
    """The language of a request, by the script of its first message."""
    text = body["messages"][0]["content"]
    return "zh" if sum("\u4e00" <= c <= "\u9fff" for c in text) > len(text) / 8 else "en"


@pytest.fixture
def generate(access, workspace) -> Callable[..., Outcome]:
    """Build a generator's rows against a fake teacher, with a journal of its own each time."""
    numbers = iter(range(100))

    def build(
        settings: BaseModel, reply: Callable[[Body], str], faults: Sequence[Any] = (), **inputs: Any
    ) -> Outcome:
        place = workspace(f"step{next(numbers)}", **inputs)
        journal = place.out.with_name("journal.sqlite")
        with FakeLLM(reply, faults=faults) as server:
            asked = access(server.base_url).model_copy(update={"journal": journal})
            built = build_generated(settings, asked, place)
        counts = built.counts
        assert counts["rows_in"] == counts["accepted"] + counts["quarantined"]
        files = {path.name: path.read_bytes() for path in sorted(place.out.iterdir())}
        records: list[Record] = [
            RECORDS.validate_json(line)
            for name in FILES.values()
            if name in files
            for line in files[name].splitlines()
        ]
        rows = TypeAdapter(Quarantined)
        failed = [rows.validate_json(line) for line in files[FAILED].splitlines()]
        assert (len(records), len(failed)) == (counts["accepted"], counts["quarantined"])
        return Outcome(built, records, failed, [seen.body for seen in server.requests], files)

    return build
