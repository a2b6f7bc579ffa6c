"""Manifests: files that name recordings."""

from __future__ import annotations

import csv
import io
import re
from pathlib import PurePosixPath
from typing import Any

import fsspec

from rtseg.errors import MediaError
from rtseg.lab.fleet.stores import reaching

MANIFEST_SUFFIXES = (".txt", ".csv", ".parquet")
COLUMN = "recording"
"""Of a .csv or .parquet manifest."""

_COMMENT = re.compile(r"(^|\s)#.*")


def is_manifest(source: str) -> bool:
    """Whether a source is a manifest; a folder of such a name is none.

    Raises:
        MediaError: its file system cannot be reached.
    """
    if PurePosixPath(source).suffix.lower() not in MANIFEST_SUFFIXES:
        return False
    with reaching(source):
        fs, path = fsspec.core.url_to_fs(source)
        return not fs.isdir(path) and (not is_pattern(source) or bool(fs.exists(path)))


def is_pattern(source: str) -> bool:
    """Whether a source may be a pattern of names."""
    return any(c in source for c in "*?[")


def read_manifest(path: str) -> list[str]:
    """The sources that a manifest names, those that are relative below its own folder.

    Args:
        path: ``.txt`` with one a line, where ``#`` begins a comment at the start of a line or after a blank, or
            ``.csv`` or ``.parquet`` with a column ``recording``. Lines and cells that hold nothing are passed over.

    Raises:
        MediaError: it cannot be read, or has no such column.
    """
    suffix = PurePosixPath(path).suffix.lower()
    try:
        with fsspec.open(path, "rb") as file:
            content = file.read()
        if suffix == ".parquet":
            names = _of_parquet(content)
        elif suffix == ".csv":
            names = _of_csv(content.decode("utf-8-sig"))
        else:
            names = [_COMMENT.sub("", line) for line in content.decode("utf-8-sig").splitlines()]
    except Exception as error:  # every store and pyarrow have kinds of their own
        raise MediaError(f"expected a manifest of recordings, got {path} that cannot be read ({error})") from error
    folder = path.rpartition("/")[0]
    return [
        name if "://" in name or name.startswith("/") or not folder else f"{folder}/{name}"
        for name in (name.strip() for name in names)
        if name
    ]


def _of_parquet(content: bytes) -> list[str]:
    import pyarrow.parquet as parquet

    reader = parquet.ParquetFile(io.BytesIO(content))
    _check_column(reader.schema_arrow.names)
    cells: list[Any] = reader.read(columns=[COLUMN])[COLUMN].to_pylist()
    wrong = next((cell for cell in cells if cell is not None and not isinstance(cell, str)), None)
    if wrong is not None:
        raise ValueError(f"expected names in its column {COLUMN}, got {wrong!r}")
    return [cell for cell in cells if cell is not None]


def _of_csv(text: str) -> list[str]:
    header, *rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row] or [[COLUMN]]
    column = _check_column(header)
    return [row[column] for row in rows if len(row) > column]


def _check_column(names: list[str]) -> int:
    if COLUMN not in names:
        raise ValueError(f"expected a column {COLUMN}, got {', '.join(names) or 'none'}; name it so")
    return names.index(COLUMN)
