"""The rows of results: one a frame, a Parquet file a shard. The schema is a contract; docs/fleet.md describes it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as parquet

from rtseg.errors import MediaError
from rtseg.files import replacing, write_bytes
from rtseg.lab.fleet.stores import is_local, reaching
from rtseg.results import Instances, Lanes, class_name

SCHEMA_VERSION = 5
"""Counts up with every change that a reader would notice; it is in every file's metadata as ``rtseg.schema``."""

LANE = pa.struct(
    {"id": pa.int32(), "confidence": pa.float32(), "x": pa.list_(pa.float32()), "y": pa.list_(pa.float32())}
)
OBJECT = pa.struct(
    {
        **{"id": pa.int32(), "class": pa.string(), "score": pa.float32(), "area": pa.int64()},
        **dict.fromkeys(("x0", "y0", "x1", "y1"), pa.float32()),
    }
)
SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("shard", pa.int32()),
        ("frame", pa.int32()),
        ("stamp", pa.int64()),
        ("name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fault", pa.string()),
        ("restart", pa.string()),
        ("degraded", pa.string()),
        ("found", pa.int32()),
        ("certainty", pa.float32()),
        ("lanes", pa.list_(LANE)),
        ("objects", pa.list_(OBJECT)),
        ("switches", pa.int32()),
        ("flickers", pa.int32()),
        ("residuals", pa.list_(pa.float32())),
        ("scores", pa.map_(pa.string(), pa.float32())),
        ("overlaps", pa.string()),
        ("features", pa.list_(pa.float32())),
        ("picture", pa.binary()),
        ("ms", pa.float32()),
        ("stages", pa.map_(pa.string(), pa.float32())),
        ("stale", pa.bool_()),
    ]
)
MEASURED = ("ms", "stages", "stale")
"""Columns of which another run gives other values; all others are the same whenever and wherever a shard is done."""


class ResultsError(MediaError):
    """Results cannot be written: no fault of the recording that they are of, and of no use to go on with others."""


@dataclass(frozen=True)
class ShardName:
    """What a shard's file is called: all that tells whether it has to be done again.

    Attributes:
        key: of the recording.
        fingerprint: of the recording's version, the model, the settings and the schema.
        index: of the shard.
        count: of shards of the recording.
    """

    key: str
    fingerprint: str
    index: int
    count: int

    @property
    def file(self) -> str:
        """Name of the Parquet file."""
        return f"{self.key}.{self.fingerprint}.{self.index:05d}-of-{self.count:05d}.parquet"

    @classmethod
    def of(cls, file: str) -> ShardName | None:
        """Read a file's name; None for a file that is no shard."""
        try:
            key, fingerprint, part, suffix = file.rsplit(".", 3)
            index, _, count = part.partition("-of-")
            return cls(key, fingerprint, int(index), int(count)) if suffix == "parquet" else None
        except ValueError:
            return None


def result_fields(result: Lanes | Instances, classes: Sequence[str]) -> dict[str, Any]:
    """The columns that come from a result alone."""
    scores = result.confidence if isinstance(result, Lanes) else result.scores
    fields: dict[str, Any] = {
        "found": len(result),
        "certainty": float(scores.mean()) if len(scores) else 0.0,
        "restart": getattr(result, "restart", "") or None,
        "degraded": ", ".join(result.degraded) or None,
        "ms": float(sum(result.times.values())),
        "stages": list(result.times.items()),
    }
    if isinstance(result, Lanes):
        fields["lanes"] = [
            {"id": int(i), "confidence": float(c), "x": line[:, 0], "y": line[:, 1]}
            for i, c, line in zip(result.ids, result.confidence, result.polylines, strict=True)
        ]
        return fields
    fields["objects"] = [
        {
            "id": int(result.ids[i]),
            "class": class_name(classes, int(result.class_ids[i])),
            "score": float(result.scores[i]),
            "area": int(result.areas[i]),
            **dict(zip(("x0", "y0", "x1", "y1"), map(float, result.boxes[i]), strict=True)),
        }
        for i in range(len(result))
    ]
    return fields


def table_of(rows: Sequence[dict[str, Any]], metadata: dict[str, str]) -> pa.Table:
    """Rows as a table; columns that a row lacks are null."""
    facts = {b"rtseg.schema": str(SCHEMA_VERSION).encode()}
    facts |= {f"rtseg.{name}".encode(): value.encode() for name, value in metadata.items()}
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA.with_metadata(facts))


def commit(folder: str, name: str, table: pa.Table) -> None:
    """Write a shard's file whole or not at all, and so that it is there after a power cut.

    Raises:
        ResultsError: it cannot be written.
    """
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    try:
        write_whole(folder, name, buffer.getvalue())
    except MediaError as error:
        raise ResultsError(str(error)) from error


def write_whole(folder: str, name: str, content: bytes) -> None:
    """Write a file of a local or remote folder, whole or not at all.

    Raises:
        MediaError: it cannot be written.
    """
    with reaching(f"{folder}/{name}"):
        fs, path = fsspec.core.url_to_fs(folder)
        if is_local(fs):
            write_bytes(f"{path}/{name}", content)
        else:
            fs.pipe_file(f"{path}/{name}", content)  # object stores show an object when all of it is there


def put_whole(file: Path, address: str) -> None:
    """Copy a file of this machine to a local or remote place, whole or not at all.

    Raises:
        MediaError: it cannot be written; nothing of it is left.
    """
    with reaching(address):
        fs, target = fsspec.core.url_to_fs(address)
        if is_local(fs):
            with replacing(target) as partial:
                shutil.copyfile(file, partial)
            return
        fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            fs.put_file(str(file), f"{target}.part")
            fs.mv(f"{target}.part", target)
        except BaseException:
            with suppress(Exception):  # what went wrong first is what counts
                fs.rm_file(f"{target}.part")
            raise


def read_rows(folder: str, columns: Sequence[str] | None = None) -> Iterator[tuple[ShardName, pa.Table]]:
    """The shards of a job's folder, recording by recording, each in the order of its time.

    Args:
        folder: that holds the shards' files.
        columns: to read; all by default.

    Raises:
        MediaError: a file is damaged, or of another version of the schema.
    """
    for name in sorted(shards_in(folder), key=lambda name: (name.key, name.index)):
        yield name, read_shard(folder, name, columns)


def read_shard(folder: str, name: ShardName, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one shard, with what is known of it in the metadata.

    Raises:
        MediaError: its file is damaged, or of another version of the schema.
    """
    fs, path = fsspec.core.url_to_fs(folder)
    try:
        with fs.open(f"{path}/{name.file}", "rb") as file:
            reader = parquet.ParquetFile(file)
            version = (reader.schema_arrow.metadata or {}).get(b"rtseg.schema", b"?").decode()
            if version == str(SCHEMA_VERSION):
                return reader.read(columns=list(columns) if columns is not None else None)
    except (OSError, pa.ArrowException) as error:
        raise MediaError(
            f"expected a shard's rows, got {folder}/{name.file} that cannot be read ({error}); "
            "delete it, and run the job again: it does what is missing"
        ) from error
    raise MediaError(
        f"expected rows of schema {SCHEMA_VERSION}, got {version} in {name.file}; run the job again into another folder"
    )


def rows_of(folder: str, name: ShardName) -> int | None:
    """How many rows a shard's file has; None where there is no such file, or one that cannot be read."""
    fs, path = fsspec.core.url_to_fs(folder)
    try:
        with fs.open(f"{path}/{name.file}", "rb") as file:
            return int(parquet.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return None


def shards_in(folder: str) -> list[ShardName]:
    """The shards whose files are in a folder; none where it does not exist."""
    return [shard for name in names_in(folder) if (shard := ShardName.of(name)) is not None]


def names_in(folder: str) -> list[str]:
    """Names of the files of a local or remote folder; none where it does not exist.

    Raises:
        MediaError: it cannot be reached.
    """
    with reaching(folder):
        fs, path = fsspec.core.url_to_fs(folder)
        try:
            return [name.rpartition("/")[2] for name in fs.ls(path, detail=False, refresh=True)]
        except FileNotFoundError:
            return []


def exists(path: str) -> bool:
    """Whether there is a local or remote file."""
    fs, name = fsspec.core.url_to_fs(path)
    return bool(fs.exists(name))
