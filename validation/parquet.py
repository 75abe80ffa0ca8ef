"""Parquet files that are either whole or absent."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

COMPRESSION = "zstd"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table under a temporary name, flush it to the disk, rename it into place.

    Equal tables give equal files.
    """
    write_whole(path, lambda file: parquet.write_table(table, file, compression=COMPRESSION))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text in the same way."""
    write_whole(path, lambda file: file.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.rename(path)
