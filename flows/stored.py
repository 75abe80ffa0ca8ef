"""Finding in the store what a person names by a key, its beginning, or "latest"."""

from artifacts.errors import UnknownArtifact
from artifacts.manifest import ArtifactRef, Manifest
from artifacts.store import Store


def find_artifact(store: Store, kind: str, name: str, maker: str) -> Manifest:
    """The artifact of a kind: by key, by its beginning, or the newest for "latest".

    `maker` is the command that makes one, for the error. Raises UnknownArtifact.
    """
    if name != "latest":
        return store.resolve(f"{kind}/{name.removeprefix(f'{kind}/')}")
    newest = [manifest for manifest in store.manifests() if manifest.kind == kind]
    if not newest:
        raise UnknownArtifact(f"no {kind} in {store.root}: make one first with `{maker}`")
    return newest[-1]


def input_ref(store: Store, manifest: Manifest, name: str) -> ArtifactRef:
    """A reference to one of the artifact's inputs."""
    entry = manifest.inputs[name]
    return ArtifactRef(
        kind=entry.kind, key=entry.key, digest=entry.digest, location=str(store.root)
    )
