"""Cryptographic digests of values and files (SHA-256, hexadecimal)."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, JsonValue

CHUNK_BYTES = 1 << 20


def canonical_json(value: JsonValue) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises ValueError for NaN and infinities, which JSON cannot carry.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_json(value: JsonValue) -> str:
    """SHA-256 of the canonical JSON text of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_model(model: BaseModel) -> str:
    """SHA-256 of a pydantic model's JSON form."""
    return digest_json(model.model_dump(mode="json"))


def digest_file(path: Path) -> str:
    """SHA-256 of a file, read in chunks of 1 MiB."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def digest_names(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of (name, digest) pairs, whatever order they come in."""
    return digest_json([[name, digest] for name, digest in sorted(pairs)])
