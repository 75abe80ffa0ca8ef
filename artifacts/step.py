"""Steps: work that is done once per key, and says why when it is done again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue

from artifacts.digest import digest_json
from artifacts.errors import DamagedArtifact, RowsLost
from artifacts.manifest import (
    ArtifactRef,
    InputEntry,
    Manifest,
    code_version,
    content_digest,
    library_versions,
    list_files,
    machine,
    now,
)
from artifacts.progress import ProgressSink, silent
from artifacts.reason import why_rebuilt
from artifacts.store import Scratch, Store, full_disk_is_named, write_atomically

NEUTRAL = "result_neutral"


@dataclass(frozen=True)
class Built:
    """What a step says of its work.

    `counts`: numbers of records; where `rows_in` is given, `accepted` and `quarantined`
    must add up to it. `volatile`: glob patterns of files that differ between equal runs.
    """

    counts: dict[str, int] = field(default_factory=dict)
    summary: dict[str, JsonValue] = field(default_factory=dict)
    cost_usd: float = 0.0
    volatile: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """What a step's function gets: where to build, its inputs' folders, where to report."""

    out: Path
    state: Path
    inputs: Mapping[str, Path]
    progress: ProgressSink


@dataclass(frozen=True)
class Step:
    """A named, versioned function from settings and input artifacts to one artifact.

    Raise `version` whenever the function's result changes for equal settings and inputs.
    """

    name: str
    version: int
    kind: str
    settings: BaseModel
    inputs: Mapping[str, ArtifactRef]
    build: Callable[[Workspace], Built]

    @property
    def key(self) -> str:
        """Digest of name, version, settings that can change the result, and inputs."""
        return digest_json(
            {
                "step": self.name,
                "version": self.version,
                "settings": keyed_settings(self.settings),
                "inputs": {name: ref.digest for name, ref in self.inputs.items()},
            }
        )


@dataclass(frozen=True)
class Outcome:
    """What `ensure` did: the artifact, whether it was there, why not, and how long it took."""

    ref: ArtifactRef
    manifest: Manifest
    status: Literal["reused", "built"]
    reason: str
    seconds: float


def keyed_settings(settings: BaseModel) -> dict[str, JsonValue]:
    """A model's settings without the fields declared result-neutral, at any depth.

    A field is neutral when declared `Field(json_schema_extra={"result_neutral": True})`.
    """
    kept: dict[str, JsonValue] = {}
    dumped = settings.model_dump(mode="json")
    for name, info in type(settings).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get(NEUTRAL):
            continue
        kept[name] = _keyed(getattr(settings, name), dumped[name])
    return kept


def _keyed(value: object, dumped: JsonValue) -> JsonValue:
    """A dumped value without the neutral fields of the models in it."""
    if isinstance(value, BaseModel):
        return keyed_settings(value)
    if isinstance(value, list | tuple) and isinstance(dumped, list):
        return [_keyed(inner, text) for inner, text in zip(value, dumped, strict=True)]
    if isinstance(value, Mapping) and isinstance(dumped, dict):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {name: _keyed(inner, text) for inner, (name, text) in pairs}
    return dumped


def ensure(
    store: Store,
    step: Step,
    progress: ProgressSink = silent,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """The step's artifact: found in the store, or built now.

    Raises RowsLost where the step's counts do not add up, NoSpace on a full disk, and
    whatever the step's function raises; the scratch then stays for the next attempt.
    """
    started = time.monotonic()
    found, _ = _look_up(store, step)
    if found:
        return _reused(store, found, started)
    waiting = f"{step.name}: another process builds {step.kind}/{step.key[:12]}; waiting for it"
    with store.lock(step.kind, step.key, on_wait=lambda: say(waiting)):
        found, damage = _look_up(store, step)
        if found:
            return _reused(store, found, started)
        reason = damage or _why_rebuilt(store, step)
        say(f"{step.name}: {reason}")
        with full_disk_is_named(store.root):
            scratch = store.scratch(step.kind, step.key)
            manifest = _build(step, scratch, progress)
            ref = store.publish(scratch, manifest)
    return Outcome(ref, manifest, "built", reason, time.monotonic() - started)


def _look_up(store: Store, step: Step) -> tuple[Manifest | None, str]:
    """The step's artifact if it can be used, and what is wrong with one that cannot."""
    try:
        return store.find(step.kind, step.key), ""
    except DamagedArtifact as error:
        return None, f"rebuilt: {error}"


def _reused(store: Store, manifest: Manifest, started: float) -> Outcome:
    seconds = time.monotonic() - started
    return Outcome(store.ref(manifest), manifest, "reused", "reused", seconds)


def _build(step: Step, scratch: Scratch, progress: ProgressSink) -> Manifest:
    attempts, earlier_seconds = _attempts(scratch)
    started = time.monotonic()
    workspace = Workspace(
        out=scratch.out,
        state=scratch.state,
        inputs={name: ref.folder for name, ref in step.inputs.items()},
        progress=progress,
    )
    try:
        built = step.build(workspace)
    finally:
        spent_seconds = earlier_seconds + time.monotonic() - started
        write_atomically(scratch.root / "attempts", f"{attempts} {spent_seconds:.3f}")
    _account_for_rows(step.name, built.counts)
    files = list_files(scratch.out, built.volatile)
    return Manifest(
        key=step.key,
        kind=step.kind,
        step=step.name,
        step_version=step.version,
        settings=step.settings.model_dump(mode="json"),
        inputs={
            name: InputEntry(kind=ref.kind, key=ref.key, digest=ref.digest)
            for name, ref in step.inputs.items()
        },
        files=files,
        content_digest=content_digest(files),
        counts=built.counts,
        summary=built.summary,
        cost_usd=built.cost_usd,
        seconds=round(spent_seconds, 3),
        attempts=attempts,
        created_at=now(),
        code_version=code_version(),
        libraries=library_versions(),
        machine=machine(),
    )


def _attempts(scratch: Scratch) -> tuple[int, float]:
    """The number of this attempt, and the seconds that earlier ones are known to have taken."""
    path = scratch.root / "attempts"
    count, _, seconds = (path.read_text() if path.is_file() else "0 0").partition(" ")
    write_atomically(path, f"{int(count) + 1} {seconds}")
    return int(count) + 1, float(seconds)


def _account_for_rows(step_name: str, counts: dict[str, int]) -> None:
    if "rows_in" not in counts:
        return
    accepted, quarantined = counts["accepted"], counts["quarantined"]
    if counts["rows_in"] != accepted + quarantined:
        raise RowsLost(
            f"{step_name}: {counts['rows_in']} rows came in, but {accepted} accepted + "
            f"{quarantined} quarantined make {accepted + quarantined}"
        )


def _why_rebuilt(store: Store, step: Step) -> str:
    fingerprint: dict[str, JsonValue] = {
        "step_version": step.version,
        "settings": keyed_settings(step.settings),
        "inputs": {name: ref.digest for name, ref in step.inputs.items()},
    }
    every_setting = step.settings.model_dump(mode="json")
    return why_rebuilt(store.manifests(), step.name, fingerprint, every_setting)
