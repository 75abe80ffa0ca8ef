"""Lineage: the graph that manifests form, upwards to sources and downwards to models."""

from collections.abc import Iterable

from artifacts.manifest import Manifest


def ancestors(manifest: Manifest, every: Iterable[Manifest]) -> list[Manifest]:
    """Everything the artifact was made from, nearest first."""
    by_name = {(m.kind, m.key): m for m in every}
    found: dict[tuple[str, str], Manifest] = {}
    queue = [manifest]
    while queue:
        for entry in queue.pop(0).inputs.values():
            name = (entry.kind, entry.key)
            if name in by_name and name not in found:
                found[name] = by_name[name]
                queue.append(by_name[name])
    return list(found.values())


def descendants(manifest: Manifest, every: Iterable[Manifest]) -> list[Manifest]:
    """Everything that was made from the artifact, nearest first."""
    users: dict[tuple[str, str], list[Manifest]] = {}
    for other in every:
        for entry in other.inputs.values():
            users.setdefault((entry.kind, entry.key), []).append(other)
    found: dict[tuple[str, str], Manifest] = {}
    queue = [manifest]
    while queue:
        current = queue.pop(0)
        for user in users.get((current.kind, current.key), []):
            name = (user.kind, user.key)
            if name not in found:
                found[name] = user
                queue.append(user)
    return list(found.values())
