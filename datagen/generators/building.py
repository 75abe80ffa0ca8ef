"""The step of every generator: items → records, as files, near-duplicates out."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from pydantic import JsonValue

from artifacts.digest import canonical_json, digest_model
from artifacts.step import Built, Workspace
from datagen.access import Cast, LlmAccess
from datagen.cases import Case, read_library
from datagen.errors import NothingToGenerate
from datagen.files import CONVERSATIONS, FAILED, PASSAGES, PROBLEMS, LineWriter
from datagen.generators.asking import Asker, Unfit
from datagen.generators.catalogue import AnyGenerator, generator_of
from datagen.generators.generator import Generator, Ground, Item
from datagen.generators.novelty import Novelty
from datagen.identity import GenerationKey, Outturn, step_key
from datagen.production import Production
from endpoints.errors import FaultyCompletion
from validation.schemas import Conversation, Language, Passage, Problem, Quarantined, Record

FILES: dict[type[Record], str] = {
    Conversation: CONVERSATIONS,
    Passage: PASSAGES,
    Problem: PROBLEMS,
}
STEP_VERSION = 1
Made = Sequence[Record] | Quarantined


def generated_version(settings: AnyGenerator) -> int:
    """The version of the step that `build_generated` is, for this kind."""
    return 100 * generator_of(settings).version + STEP_VERSION


def generated_key(settings: AnyGenerator, access: LlmAccess) -> GenerationKey:
    """What the step that `build_generated` is, is known by. Raises NothingToGenerate."""
    generator = generator_of(settings)
    cases = _usable_cases(settings, generator, access)
    return step_key(
        settings,
        access,
        generator.roles,
        _usable_languages(settings, generator, access),
        word_lists=generator.word_lists,
        cases={case.case_id: digest_model(case) for case in cases},
        style="chat",
        prompts=generator.prompts,
    )


def refuse_unusable(settings: AnyGenerator, access: LlmAccess) -> None:
    """Raise NothingToGenerate where the endpoints cannot make these rows; asks nobody."""
    _usable_languages(settings, generator_of(settings), access)


def build_generated(settings: AnyGenerator, access: LlmAccess, workspace: Workspace) -> Built:
    """Make the records of one generator.

    Writes a file for each type of record that it makes, and `failed.jsonl`. Raises
    NothingToGenerate before anything is asked, and the endpoint errors that end a run.
    """
    generator = generator_of(settings)
    ground = Ground(
        languages=_usable_languages(settings, generator, access),
        cases=_usable_cases(settings, generator, access),
        talks=workspace.inputs.get("conversations") if generator.uses_talks else None,
    )
    items = generator.items(settings, ground)
    work = Production(access, generator.roles, "rows", workspace.progress)
    outturn, kinds, novelty = Outturn(), Counter[str](), Novelty(settings.most_alike)
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(LineWriter(workspace.out / FILES[kind]))
            for kind in generator.writes
        }
        failed = stack.enter_context(LineWriter(workspace.out / FAILED))

        def keep(made: Made) -> None:
            for row in _without_duplicates(made, generator, novelty, settings.kind):
                if isinstance(row, Quarantined):
                    failed.write(row)
                    outturn.add_failed(row.fault)
                else:
                    files[type(row)].write(row)
                    outturn.add(row.language)
                    kinds[row.source.partition("/")[0]] += 1

        work.run(items, len(items), partial(_make, settings, generator), keep)
    told: dict[str, JsonValue] = {
        "generator": settings.kind,
        "rows_wanted": settings.rows,
        "items": len(items),
    }
    return outturn.built(work.meter, told | {"by_source": dict(sorted(kinds.items()))})


async def _make(settings: AnyGenerator, generator: Generator, item: Item, cast: Cast) -> Made:
    names = (settings.kind, settings.seed, item.language, *item.identity)
    asker = Asker(cast, settings.line, item.language, names)
    try:
        return await generator.make(settings, item, asker)
    except Unfit as unfit:
        return _quarantined(settings.kind, item, unfit.fault, unfit.detail, unfit.said)
    except FaultyCompletion as faulty:
        said = faulty.completion.text if faulty.completion else ""
        return _quarantined(settings.kind, item, f"endpoint_{faulty.fault}", str(faulty), said)


def _quarantined(kind: str, item: Item, fault: str, detail: str, said: str) -> Quarantined:
    raw: dict[str, JsonValue] = {"item": item.model_dump(mode="json"), "said": said}
    origin = f"{kind}/{item.language}/{item.place}"
    return Quarantined(raw=canonical_json(raw), fault=fault, detail=detail, origin=origin)


def _without_duplicates(
    made: Made, generator: Generator, novelty: Novelty, kind: str
) -> list[Record | Quarantined]:
    """The rows of one item; a record too much like an earlier one becomes a quarantined row."""
    if isinstance(made, Quarantined):
        return [made]
    rows: list[Record | Quarantined] = []
    for record in made:
        gist = f"{record.language} {generator.gist(record)}"
        if near := novelty.nearest(gist):
            earlier, alike = near
            detail = f"{alike:.0%} of its word triples are those of record {earlier}"
            raw = record.model_dump_json()
            origin = f"{kind}/{record.record_id[:12]}"
            rows.append(Quarantined(raw=raw, fault="duplicate", detail=detail, origin=origin))
            continue
        novelty.remember(gist, record.record_id)
        rows.append(record)
    return rows


def _usable_languages(
    settings: AnyGenerator, generator: Generator, access: LlmAccess
) -> tuple[Language, ...]:
    """The languages that are wanted and spoken. Raises NothingToGenerate where there is none."""
    shares = [s for role in generator.roles for s in access.shares(role)]
    fallbacks = access.fallbacks if generator.roles else ()
    for endpoint in (*(share.endpoint for share in shares), *fallbacks):
        if endpoint.style != "chat":
            raise NothingToGenerate(
                f"generator {settings.kind!r} needs chat endpoints, but '{endpoint.name}' "
                f"continues transcripts: choose a chat endpoint for the roles "
                f"{list(generator.roles)}, or take the generator out of `generators`"
            )
    spoken = access.languages(generator.roles)
    languages = tuple(dict.fromkeys(one for one in settings.languages if one in spoken))
    if not languages:
        raise NothingToGenerate(
            f"generator {settings.kind!r}: the endpoints talk in {list(spoken)}, but "
            f"{list(settings.languages)} are wanted: change its languages, or choose another "
            "endpoint"
        )
    return languages


def _usable_cases(
    settings: AnyGenerator, generator: Generator, access: LlmAccess
) -> tuple[Case, ...]:
    """The library's cases in the usable languages; none for a generator that wants none."""
    languages = _usable_languages(settings, generator, access)
    if not generator.uses_cases:
        return ()
    every = read_library(settings.library) if settings.library else read_library()
    cases = tuple(case for case in every if case.language in languages)
    if lacking := [one for one in languages if not any(c.language == one for c in cases)]:
        raise NothingToGenerate(
            f"generator {settings.kind!r}: the library holds no cases in {lacking}: add some, "
            "or change its languages"
        )
    return cases
