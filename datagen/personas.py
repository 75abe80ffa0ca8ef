"""Personas: how a patient talks, apart from what the patient knows."""

from functools import cache
from pathlib import Path

import yaml

from artifacts.digest import digest_json
from validation.schemas import Frozen, Language, NonBlank

FILE = Path(__file__).with_name("personas.yaml")


class Persona(Frozen):
    """A manner of talking, worded in every language."""

    persona_id: NonBlank
    manner: dict[Language, NonBlank]


@cache
def read_personas() -> tuple[Persona, ...]:
    """All personas, in the file's order."""
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))["personas"]
    return tuple(Persona.model_validate(entry) for entry in entries)


def draw_persona(case_id: str, sample_index: int, seed: int) -> Persona:
    """The persona of one talk: always the same one for the same talk and seed."""
    personas = read_personas()
    number = int(digest_json(["persona", case_id, sample_index, seed])[:8], 16)
    return personas[number % len(personas)]
