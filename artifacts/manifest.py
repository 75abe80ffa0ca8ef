"""Manifests: what an artifact is, what made it, and what it holds."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from artifacts.digest import digest_file, digest_names

MANIFEST_NAME = "manifest.json"
LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "pyarrow",
    "great-expectations",
    "openai",
    "xllamacpp",
    "prefect",
)


class Value(BaseModel):
    """A frozen value, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Value):
    """One file of an artifact. `volatile` files (logs, pages) stay out of the content digest."""

    path: str
    size_bytes: int
    digest: str
    volatile: bool = False


class ArtifactRef(Value):
    """What tasks pass around instead of rows: kind, key, content digest, store location."""

    kind: str
    key: str
    digest: str
    location: str

    @property
    def folder(self) -> Path:
        """The folder that holds the artifact's files."""
        return Path(self.location) / self.kind / self.key


class InputEntry(Value):
    """An input as the manifest remembers it."""

    kind: str
    key: str
    digest: str


class Manifest(Value):
    """Written last into an artifact's folder; a folder without it is no artifact."""

    key: str
    kind: str
    step: str
    step_version: int
    settings: dict[str, JsonValue]
    inputs: dict[str, InputEntry]
    files: tuple[FileEntry, ...]
    content_digest: str
    counts: dict[str, int] = Field(default_factory=dict)
    summary: dict[str, JsonValue] = Field(default_factory=dict)
    cost_usd: float = 0.0
    seconds: float
    attempts: int = 1
    created_at: datetime
    code_version: str
    libraries: dict[str, str]
    machine: dict[str, JsonValue]


def list_files(folder: Path, volatile: tuple[str, ...] = ()) -> tuple[FileEntry, ...]:
    """Size and digest of every file below a folder, in order of path.

    `volatile`: glob patterns, relative to the folder, of files that differ between equal runs.
    """
    entries = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder)
        entries.append(
            FileEntry(
                path=relative.as_posix(),
                size_bytes=path.stat().st_size,
                digest=digest_file(path),
                volatile=any(_matches(relative, pattern) for pattern in volatile),
            )
        )
    return tuple(entries)


def _matches(relative: Path, pattern: str) -> bool:
    if pattern.endswith("/**"):
        return relative.as_posix().startswith(pattern[:-2])
    return relative.match(pattern)


def content_digest(files: tuple[FileEntry, ...]) -> str:
    """The digest of an artifact's lasting files: equal content, equal digest."""
    return digest_names((f.path, f.digest) for f in files if not f.volatile)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file."""
    return Manifest.model_validate_json(path.read_text(encoding="utf-8"))


def now() -> datetime:
    """The time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@cache
def code_version() -> str:
    """The commit of this checkout, marked `+changes` where files differ; else the version.

    "unknown" where neither is known: it is asked after the work, and must not undo it.
    """
    root = Path(__file__).resolve().parents[1]
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        dirty = "+changes" if _git(root, "status", "--porcelain") else ""
    except (OSError, subprocess.CalledProcessError):
        return _installed_version() or "unknown"
    return commit + dirty


def _installed_version() -> str | None:
    try:
        return metadata.version("medfactory")
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape results, of those that are installed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, JsonValue]:
    """What this ran on. No host name: manifests are shared."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
    }
