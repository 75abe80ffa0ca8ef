"""Where everything came from: the manifests above the report's inputs, as steps and a graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from artifacts.manifest import MANIFEST_NAME, Manifest, read_manifest
from validation.schemas import Frozen

Name = tuple[str, str]
"""Kind and key of an artifact."""


class StepHistory(Frozen):
    """What one run did about one step; `seconds` is what it took this run."""

    name: str
    kind: str
    key: str
    status: Literal["built", "reused"]
    reason: str = ""
    seconds: float = 0.0
    build_seconds: float = 0.0
    cost_usd: float = 0.0


class StepLine(Frozen):
    """One step as the report lists it.

    `status` is empty where no history of the run was given. `tokens`: read and written by
    the step, where its manifest says so.
    """

    name: str
    kind: str
    key: str
    status: str
    reason: str
    run_seconds: float | None
    build_seconds: float
    cost_usd: float
    attempts: int
    tokens: dict[str, int]
    counts: dict[str, int]
    settings: dict[str, JsonValue]
    inputs: dict[str, str]
    made: str
    code_version: str
    depth: int = Field(ge=0)


def gather(folders: Sequence[Path]) -> dict[Name, Manifest]:
    """The manifests of artifacts and of all that they were made from, sources first.

    A folder's parent's parent is its store. What has no manifest is left out.
    """
    found: dict[Name, Manifest] = {}
    for folder in folders:
        _gather(folder, found)
    return found


def step_lines(
    manifests: Mapping[Name, Manifest], history: Sequence[StepHistory]
) -> list[StepLine]:
    """One line a step: in the run's order where its history is known, sources first else."""
    known = {(entry.kind, entry.key): entry for entry in history}
    order = {name: place for place, name in enumerate(known)}
    depths = depths_of(manifests)
    lines = [_line(manifest, known.get(name), depths[name]) for name, manifest in manifests.items()]
    return sorted(lines, key=lambda line: order.get((line.kind, line.key), len(order)))


def depths_of(manifests: Mapping[Name, Manifest]) -> dict[Name, int]:
    """How many steps stand before each artifact, along the longest way.

    A source stands right before the first artifact that it went into.
    """
    depths: dict[Name, int] = {}
    used_at: dict[Name, int] = {}
    for name, manifest in manifests.items():
        above = [n for n in inputs_of(manifest) if n in depths]
        depths[name] = max((depths[n] for n in above), default=-1) + 1
        for source in above:
            used_at[source] = min(depths[name], used_at.get(source, depths[name]))
    return {
        name: depth if depth or name not in used_at else used_at[name] - 1
        for name, depth in depths.items()
    }


def inputs_of(manifest: Manifest) -> list[Name]:
    """The artifacts that one was made from."""
    return [(entry.kind, entry.key) for entry in manifest.inputs.values()]


def direct_edges(manifests: Mapping[Name, Manifest]) -> list[tuple[Name, Name]]:
    """Input → artifact, without those that a longer way already tells."""
    above: dict[Name, set[Name]] = {}
    edges = []
    for name, manifest in manifests.items():
        inputs = list(dict.fromkeys(n for n in inputs_of(manifest) if n in manifests))
        implied = set().union(*(above[n] for n in inputs)) if inputs else set()
        above[name] = implied | set(inputs)
        edges += [(source, name) for source in inputs if source not in implied]
    return edges


def _gather(folder: Path, found: dict[Name, Manifest]) -> None:
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return
    manifest = read_manifest(path)
    if (manifest.kind, manifest.key) in found:
        return
    for entry in manifest.inputs.values():
        _gather(folder.parent.parent / entry.kind / entry.key, found)
    found[manifest.kind, manifest.key] = manifest


def _line(manifest: Manifest, entry: StepHistory | None, depth: int) -> StepLine:
    return StepLine(
        name=entry.name if entry else manifest.step,
        kind=manifest.kind,
        key=manifest.key,
        status=entry.status if entry else "",
        reason=entry.reason if entry else "",
        run_seconds=entry.seconds if entry else None,
        build_seconds=manifest.seconds,
        cost_usd=manifest.cost_usd,
        attempts=manifest.attempts,
        tokens=_tokens(manifest.summary),
        counts=manifest.counts,
        settings=manifest.settings,
        inputs={name: f"{e.kind}/{e.key[:12]}" for name, e in manifest.inputs.items()},
        made=manifest.created_at.strftime("%Y-%m-%d %H:%M UTC"),
        code_version=manifest.code_version,
        depth=depth,
    )


def _tokens(summary: Mapping[str, JsonValue]) -> dict[str, int]:
    """Counts of tokens in a step's summary, at its top or under `usage`."""
    usage = summary.get("usage")
    places = [summary, usage if isinstance(usage, dict) else {}]
    names = ("prompt_tokens", "completion_tokens", "tokens")
    found: dict[str, int] = {}
    for place in places:
        for name in names:
            value = place.get(name)
            if isinstance(value, int):
                found[name] = value
    return found
