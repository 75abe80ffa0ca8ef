"""The step that grows the library: empty cells or clinical notes → drafted cases, as files.

The packaged library is never touched; `copy_cases` puts what was drafted where a person says.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, JsonValue, PositiveInt

from artifacts.digest import canonical_json, digest_model
from artifacts.step import Built, Workspace
from datagen.access import AgentRole, Cast, LlmAccess
from datagen.case_checks import Ground
from datagen.case_drafts import Drafter, DraftSampling, Order, choose_example
from datagen.case_duplicates import DuplicateSettings, KnownCases
from datagen.cases import Case, LibraryChoice, read_libraries
from datagen.errors import NothingToGenerate
from datagen.files import CASES, FAILED, LineWriter
from datagen.grid import Cell, cell_of, coverage, empty_cells, every_cell
from datagen.identity import GenerationKey, Outturn, step_key
from datagen.notes import DRUGS_FILE, Note, NotesFile, check_notes, read_notes
from datagen.production import Production
from validation.schemas import Frozen, Language, Quarantined

GROWTH_VERSION = 1
ROLES: tuple[AgentRole, ...] = ("teacher",)
MOST_KNOWN = 40
YAML_WIDTH = 100


class GrowSettings(Frozen):
    """How the library grows.

    `rows`: cases to draft, each for an empty cell; with `notes`, how many of them are drafted
    from. `library`: the folders that count as there, `packaged` may be one (None: it alone). What
    is drafted repeats neither them nor itself.
    """

    rows: PositiveInt = 20
    language: Language = "en"
    seed: int = 0
    notes: NotesFile | None = None
    library: Annotated[LibraryChoice, Field(json_schema_extra={"result_neutral": True})] = None
    sampling: DraftSampling = DraftSampling()
    duplicates: DuplicateSettings = DuplicateSettings()


def growth_key(settings: GrowSettings, access: LlmAccess) -> GenerationKey:
    """What the step that `build_growth` is, is known by.

    Raises NothingToGenerate where the endpoints cannot draft in the language, NotesError for
    notes that cannot be read.
    """
    _refuse_unable(settings, access)
    files = [DRUGS_FILE]
    if settings.notes:
        check_notes(settings.notes)
        files.append(settings.notes.path)
    return step_key(
        settings,
        access,
        ROLES,
        (settings.language,),
        word_lists=files,
        cases={case.case_id: digest_model(case) for case in _library(settings)},
        style="chat",
    )


def build_growth(settings: GrowSettings, access: LlmAccess, workspace: Workspace) -> Built:
    """Draft cases, check them, leave out what repeats another.

    Writes `<language>/<case_id>.yaml` and `cases.jsonl` for the sound ones, `failed.jsonl` for
    the others with the name of their fault. Raises NothingToGenerate and the errors that end a
    run.
    """
    _refuse_unable(settings, access)
    library = _library(settings)
    known = KnownCases(library, settings.duplicates)
    kept: list[Case] = []
    outturn = Outturn()
    work = Production(access, ROLES, "cases", workspace.progress)
    folder = workspace.out / settings.language
    folder.mkdir()
    with (
        LineWriter(workspace.out / CASES) as cases,
        LineWriter(workspace.out / FAILED) as failed,
    ):

        def keep(made: Case | Quarantined) -> None:
            if isinstance(made, Case) and (repeated := known.repeated_by(made)):
                made = _duplicate(made, repeated)
            if isinstance(made, Quarantined):
                failed.write(made)
                outturn.add_failed(made.fault)
                return
            cases.write(made)
            write_case(folder / f"{made.case_id}.yaml", made)
            outturn.add(made.language)
            known.add(made)
            kept.append(made)

        async def draft(order: Order | Quarantined, cast: Cast) -> Case | Quarantined:
            if isinstance(order, Quarantined):
                return order
            drafter = Drafter(cast.pool("teacher"), settings.sampling, settings.seed)
            return await drafter.draft(order)

        orders = list(_orders(settings, library))
        work.run(orders, len(orders), draft, keep)
    before = coverage(library, settings.language)
    after = coverage((*library, *kept), settings.language)
    more: dict[str, JsonValue] = {
        "cells": after.cells,
        "cells_filled_before": before.filled,
        "cells_filled": after.filled,
        "specialties": dict(after.specialty),
    }
    return outturn.built(work.meter, more)


def write_case(path: Path, case: Case) -> None:
    """Write a case as people read it. Raises FileExistsError where the file is there."""
    text = yaml.safe_dump(
        case.model_dump(mode="json", exclude_none=True),
        allow_unicode=True,
        sort_keys=False,
        width=YAML_WIDTH,
        default_flow_style=None,  # lists of words in one line each
    )
    with path.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def copy_cases(artifact: Path, folder: Path) -> tuple[int, int]:
    """Copy the cases of an artifact into a library, never over a file that is there.

    Returns how many were copied, and how many were there already.
    """
    copied = there = 0
    for source in sorted(artifact.glob("*/*.yaml")):
        target = folder / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(source.read_text(encoding="utf-8"))
            copied += 1
        except FileExistsError:
            there += 1
    return copied, there


def _library(settings: GrowSettings) -> tuple[Case, ...]:
    return read_libraries(settings.library, settings.language)


def _refuse_unable(settings: GrowSettings, access: LlmAccess) -> None:
    """Cases are drafted in chat: a transcript model knows no instructions."""
    for share in access.shares("teacher"):
        endpoint = share.endpoint
        if endpoint.style != "chat":
            raise NothingToGenerate(
                f"endpoint '{endpoint.name}' only goes on with transcripts, so it cannot draft "
                "cases: name one that follows instructions, by --endpoint or roles.teacher"
            )
        if settings.language not in endpoint.languages:
            raise NothingToGenerate(
                f"endpoint '{endpoint.name}' talks in {list(endpoint.languages)}, but cases in "
                f"{settings.language!r} are wanted: change grow.language, or name another endpoint"
            )


def _orders(settings: GrowSettings, library: Sequence[Case]) -> Iterator[Order | Quarantined]:
    if settings.notes is not None:
        return _orders_of_notes(settings, settings.notes, library)
    return _orders_of_cells(settings, library)


def _orders_of_cells(settings: GrowSettings, library: Sequence[Case]) -> Iterator[Order]:
    cells = list(islice(empty_cells(library, settings.language, settings.seed), settings.rows))
    if len(cells) < settings.rows:
        raise NothingToGenerate(
            f"{settings.rows} cases are wanted, but only {len(cells)} of {len(every_cell())} cells "
            f"are empty in {settings.language!r}: ask for fewer, or for another language"
        )
    for cell in cells:
        name = f"{settings.language}/{cell.name}"
        yield _order(settings, library, name, Ground(cell=cell))


def _orders_of_notes(
    settings: GrowSettings, notes: NotesFile, library: Sequence[Case]
) -> Iterator[Order | Quarantined]:
    """The first notes that can be drafted from, and those before them that cannot."""
    drafted = 0
    for note in read_notes(notes, settings.language):
        if isinstance(note, Note):
            drafted += 1
            yield _order(settings, library, note.origin, Ground(note=note.text), notes)
            if drafted == settings.rows:
                return
        else:
            yield note


def _order(
    settings: GrowSettings,
    library: Sequence[Case],
    name: str,
    ground: Ground,
    notes: NotesFile | None = None,
) -> Order:
    example = choose_example(library, settings.language, ground.cell)
    return Order(
        name=name,
        language=settings.language,
        ground=ground,
        example=example,
        known=_known_diagnoses(library, ground.cell),
        source=f"{notes.source or notes.path.name}, {name}" if notes else "",
        license=notes.license if notes else "Apache-2.0",
    )


def _known_diagnoses(library: Sequence[Case], cell: Cell | None) -> tuple[str, ...]:
    if cell is None:
        return ()
    same = (case for case in library if cell_of(case).specialty == cell.specialty)
    return tuple(sorted({case.diagnosis.name for case in same})[:MOST_KNOWN])


def _duplicate(case: Case, repeated: str) -> Quarantined:
    return Quarantined(
        raw=canonical_json(case.model_dump(mode="json")),
        fault="duplicate",
        detail=f"repeats {repeated}",
        origin=case.case_id,
    )
