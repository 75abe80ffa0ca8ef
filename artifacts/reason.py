"""Why a step is done again: its difference from the nearest earlier artifact, in one line."""

from collections.abc import Iterable

from pydantic import JsonValue

from artifacts.manifest import Manifest

SHOWN_CHANGES = 3
SHOWN_CHARACTERS = 40


def why_rebuilt(
    manifests: Iterable[Manifest],
    step_name: str,
    fingerprint: dict[str, JsonValue],
    every_setting: dict[str, JsonValue],
) -> str:
    """One line: "new: first artifact of this step" or "rebuilt: dpo.beta 0.1 → 0.2".

    The nearest earlier artifact is the one with the fewest differences, the newest of those.
    `fingerprint` holds `step_version`, `settings` (without neutral ones) and `inputs`;
    `every_setting` the neutral ones too, as manifests do.
    """
    wanted = _flat(fingerprint)
    known = wanted.keys() | _flat({"settings": every_setting}).keys()
    best: list[str] | None = None
    for manifest in manifests:
        if manifest.step != step_name:
            continue
        earlier = _flat(_earlier(manifest))
        gone: dict[str, JsonValue] = dict.fromkeys(earlier.keys() - known)
        changes = _changes(step_name, earlier, wanted | gone)
        if best is None or len(changes) <= len(best):
            best = changes
    if best is None:
        return "new: first artifact of this step"
    if not best:
        return "rebuilt: the step's settings have other fields than they had"
    more = f" (+{len(best) - SHOWN_CHANGES} more)" if len(best) > SHOWN_CHANGES else ""
    return "rebuilt: " + ", ".join(best[:SHOWN_CHANGES]) + more


def _earlier(manifest: Manifest) -> dict[str, JsonValue]:
    return {
        "step_version": manifest.step_version,
        "settings": manifest.settings,
        "inputs": {name: entry.digest for name, entry in manifest.inputs.items()},
    }


def _changes(
    step_name: str, earlier: dict[str, JsonValue], wanted: dict[str, JsonValue]
) -> list[str]:
    """Inputs first: a changed input explains more than a changed setting."""
    changes = []
    for name in sorted(wanted, key=lambda n: (not n.startswith("inputs."), n)):
        old, new = earlier.get(name), wanted[name]
        if old == new:
            continue
        if name.startswith("inputs."):
            change = "gone" if new is None else "changed" if old else "added"
            changes.append(f"input {name.removeprefix('inputs.')} {change}")
        else:
            label = f"{step_name}.{name.removeprefix('settings.')}"
            changes.append(f"{label} {_short(old)} → {_short(new)}")
    return changes


def _short(value: JsonValue) -> str:
    text = "(unset)" if value is None else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _flat(value: JsonValue, prefix: str = "") -> dict[str, JsonValue]:
    """Nested mappings as dotted names; lists stay whole."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, JsonValue] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{name}" if prefix else name)
    return flat
