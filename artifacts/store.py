"""The store: a folder `<kind>/<key>/` per artifact, published by one rename.

A step builds under `.scratch/`, in two folders: `out` (what will be published) and
`state` (what a later attempt resumes from). A scratch folder outlives a killed run.
"""

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from artifacts.digest import digest_file
from artifacts.errors import DamagedArtifact, NoSpace, UnknownArtifact
from artifacts.manifest import MANIFEST_NAME, ArtifactRef, Manifest, read_manifest

POLL_SECONDS = 0.2
# Below this a disk is taken to be full where an error does not say so itself.
FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Scratch:
    """Where a step builds: `out` is published, `state` is for resuming and then goes."""

    root: Path

    @property
    def out(self) -> Path:
        """What will become the artifact."""
        return self.root / "out"

    @property
    def state(self) -> Path:
        """What a later attempt of the same key resumes from."""
        return self.root / "state"


class Store:
    """A local folder of artifacts.

    Several processes may use one store at once; a lock per key keeps two of them from
    building the same artifact.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def find(self, kind: str, key: str) -> Manifest | None:
        """The manifest of a published artifact, or None.

        Raises DamagedArtifact where the manifest cannot be read, or a file is missing or has
        another size than described.
        """
        folder = self.root / kind / key
        path = folder / MANIFEST_NAME
        try:
            manifest = read_manifest(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DamagedArtifact(f"{path} cannot be read: {_first_line(error)}") from error
        for entry in manifest.files:
            file = folder / entry.path
            if not file.is_file() or file.stat().st_size != entry.size_bytes:
                raise DamagedArtifact(
                    f"{file} is missing or not {entry.size_bytes} bytes long; artifacts must not "
                    "be changed"
                )
        return manifest

    def ref(self, manifest: Manifest) -> ArtifactRef:
        """A reference that another process can open."""
        return ArtifactRef(
            kind=manifest.kind,
            key=manifest.key,
            digest=manifest.content_digest,
            location=str(self.root),
        )

    def manifests(self) -> Iterator[Manifest]:
        """Every published manifest, oldest first; unreadable ones are skipped over."""
        found = []
        for path in self.root.glob(f"[!.]*/*/{MANIFEST_NAME}"):
            try:
                found.append(read_manifest(path))
            except (ValueError, OSError):
                continue
        yield from sorted(found, key=lambda m: (m.created_at, m.key))

    def resolve(self, prefix: str) -> Manifest:
        """The one artifact whose key begins with `prefix`, `kind/prefix` allowed.

        Raises UnknownArtifact for none or several.
        """
        kind, _, start = prefix.rpartition("/")
        found = [m for m in self.manifests() if m.key.startswith(start) and kind in ("", m.kind)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{m.kind}/{m.key[:12]}" for m in found[:8])
        raise UnknownArtifact(
            f"{len(found)} artifacts in {self.root} begin with {prefix!r}"
            + (f": {names}; give more of the key" if found else "; see `medfactory lineage`")
        )

    def verify(self, manifest: Manifest) -> None:
        """Read every file of an artifact again. Raises DamagedArtifact where one changed."""
        folder = self.root / manifest.kind / manifest.key
        for entry in manifest.files:
            file = folder / entry.path
            if not file.is_file() or digest_file(file) != entry.digest:
                raise DamagedArtifact(f"{file} is not what was published")

    @contextmanager
    def lock(
        self, kind: str, key: str, on_wait: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Hold the key against other processes; `on_wait` is called once if one holds it.

        The lock goes with the process that holds it, however that one ends.
        """
        path = self.root / ".locks" / f"{kind}-{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait:
                on_wait()
            lock.acquire(poll_interval=POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def scratch(self, kind: str, key: str) -> Scratch:
        """The scratch of a key: `out` empty, `state` as a killed attempt left it.

        The caller holds the key's lock.
        """
        scratch = Scratch(self.root / ".scratch" / f"{kind}-{key}")
        # Files of a killed attempt would be published too, and those that it had made
        # read-only could not be written again.
        if scratch.out.exists():
            shutil.rmtree(scratch.out)
        scratch.out.mkdir(parents=True)
        scratch.state.mkdir(exist_ok=True)
        return scratch

    def publish(self, scratch: Scratch, manifest: Manifest) -> ArtifactRef:
        """Make the scratch's `out` the artifact: files, then manifest, then one rename.

        The caller holds the key's lock.
        """
        target = self.root / manifest.kind / manifest.key
        for entry in manifest.files:
            _flush(scratch.out / entry.path)
            (scratch.out / entry.path).chmod(0o444)
        temporary = scratch.out / f".{MANIFEST_NAME}"
        temporary.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        _flush(temporary)
        temporary.rename(scratch.out / MANIFEST_NAME)
        for folder in {p.parent for p in scratch.out.rglob("*")}:
            _flush(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        scratch.out.rename(target)
        _flush(target.parent)
        _flush(self.root)
        shutil.rmtree(scratch.root)
        return self.ref(manifest)

    def sweep(self, older_than_seconds: float = 0.0) -> int:
        """Remove scratch that no living process holds; returns the bytes freed.

        Raises ValueError for a negative age.
        """
        if older_than_seconds < 0:
            raise ValueError(f"older_than_seconds must be 0 or more, got {older_than_seconds}")
        freed_bytes = 0
        for folder in (self.root / ".scratch").glob("*"):
            # Only under its lock does a scratch hold still enough to be looked at.
            try:
                with FileLock(self.root / ".locks" / f"{folder.name}.lock", timeout=0):
                    freed_bytes += _remove_if_old(folder, older_than_seconds)
            except Timeout:
                continue
        return freed_bytes


@contextmanager
def full_disk_is_named(folder: Path) -> Iterator[None]:
    """Turn "no space left" into NoSpace, which says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise no_space(folder, error.filename or "a file") from error


def no_space(folder: Path, writing: str) -> NoSpace:
    """The error of a full disk: which, what was being written, and what to do."""
    free_mib = shutil.disk_usage(folder).free / 2**20
    return NoSpace(
        f"the disk of {folder} is full ({free_mib:.0f} MiB free) while writing {writing}. Free "
        "space (`medfactory sweep` removes the scratch of dead runs) or use another folder "
        "(--home), then type the same command: it goes on."
    )


def write_atomically(path: Path, text: str) -> None:
    """Write a file under a temporary name, flush it to the disk, rename it into place."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    _flush(temporary)
    temporary.rename(path)
    _flush(path.parent)


def _remove_if_old(folder: Path, older_than_seconds: float) -> int:
    """Remove a folder in which nothing is younger; returns the bytes freed."""
    if not folder.is_dir():
        return 0  # published since it was listed
    found = [p.lstat() for p in (folder, *folder.rglob("*"))]
    if time.time() - max(s.st_mtime for s in found) < older_than_seconds:
        return 0
    shutil.rmtree(folder)
    return sum(s.st_size for s in found if stat.S_ISREG(s.st_mode))


def _first_line(error: ValueError) -> str:
    return str(error).partition("\n")[0]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
