"""Parquet files that are either whole or absent."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

COMPRESSION = "zstd"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table under a temporary name, flush it to the disk, rename it into place.

    Equal tables give equal files. An empty table gives a file without row groups: `datasets`
    refuses to load a row group without rows.
    """
    write_whole(path, lambda file: _write_table(table, file))


def _write_table(table: pa.Table, file: Path) -> None:
    with parquet.ParquetWriter(file, table.schema, compression=COMPRESSION) as writer:
        if len(table):
            writer.write_table(table)


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
