"""Reading bags without their index: what is left of a recording whose end is missing.

A recorder that loses power writes no index, no footer and no metadata.yaml, and ordinary readers then refuse the whole
drive. The records themselves are still there, one after another, so they are read in file order until they end.
"""

from __future__ import annotations

import bz2
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MCAP_MAGIC = b"\x89MCAP0\r\n"
BAG_MAGIC = b"#ROSBAG V2.0\n"

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "bz2": bz2.BZ2Decompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}


class StoredMessage(NamedTuple):
    """One message as it lies in the file; `stamp` is the recorder's time in nanoseconds."""

    topic: str
    msgtype: str
    stamp: int
    data: bytes


def scan_messages(path: Path) -> Iterator[StoredMessage]:
    """Give the messages of a ``.bag``, ``.mcap`` or ``.db3`` file in file order, as far as they can be read.

    A damaged chunk is passed over; the iteration ends, without an error, where the file does not go on.
    """
    scanners = {".bag": _scan_bag, ".mcap": _scan_mcap, ".db3": _scan_sqlite}
    scanner = scanners.get(path.suffix)
    if scanner is None:
        return
    try:
        yield from scanner(path)
    except (EOFError, struct.error, UnicodeDecodeError, KeyError, ValueError, sqlite3.Error):
        return


def decompress(name: str, data: bytes) -> bytes:
    """Decompress as much of a chunk as is sound: all of it, the part before its end was cut off, or nothing."""
    if name in ("", "none"):
        return data
    if name not in _DECOMPRESSORS:
        return b""
    try:
        return bytes(_DECOMPRESSORS[name]().decompress(data))
    except (OSError, EOFError, ValueError, RuntimeError, zstd.ZstdError):
        return b""


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _text(data: bytes, position: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", data, position)
    position += 4
    return data[position : position + size].decode(), position + size


def _scan_mcap(path: Path) -> Iterator[StoredMessage]:
    schemas: dict[int, str] = {}
    channels: dict[int, tuple[str, str]] = {}

    def record(kind: int, data: bytes) -> StoredMessage | None:
        if kind == 0x03:
            schemas[struct.unpack_from("<H", data)[0]] = _text(data, 2)[0]
        elif kind == 0x04:
            channel, schema = struct.unpack_from("<HH", data)
            channels[channel] = (_text(data, 4)[0], schemas.get(schema, ""))
        elif kind == 0x05:
            channel, _, stamp = struct.unpack_from("<HIQ", data)
            if channel in channels:
                return StoredMessage(*channels[channel], stamp, data[22:])
        return None

    with path.open("rb") as file:
        if file.read(8) != MCAP_MAGIC:
            return
        while True:
            kind, size = struct.unpack("<BQ", _read(file, 9))
            if kind == 0x0F:  # end of data: only the index follows
                return
            data = file.read(size)
            records: Iterable[tuple[int, bytes]] = [(kind, data)] if len(data) == size else []
            if kind == 0x06:
                compression, position = _text(data, 28)
                records = _mcap_records(decompress(compression, data[position + 8 :]))
            for inner, content in records:
                message = record(inner, content)
                if message:
                    yield message


def _mcap_records(chunk: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 9 <= len(chunk):
        kind, size = struct.unpack_from("<BQ", chunk, position)
        position += 9
        if position + size <= len(chunk):
            yield kind, chunk[position : position + size]
        position += size


def _bag_header(data: bytes) -> dict[str, bytes]:
    fields, position = {}, 0
    while position < len(data):
        (size,) = struct.unpack_from("<I", data, position)
        name, _, value = data[position + 4 : position + 4 + size].partition(b"=")
        fields[name.decode()] = value
        position += 4 + size
    return fields


def _scan_bag(path: Path) -> Iterator[StoredMessage]:
    connections: dict[bytes, tuple[str, str]] = {}

    def record(header: dict[str, bytes], data: bytes) -> StoredMessage | None:
        kind = header["op"][0]
        if kind == 7:
            package, _, name = _bag_header(data)["type"].decode().partition("/")
            connections[header["conn"]] = (header["topic"].decode(), f"{package}/msg/{name}")
        elif kind == 2 and header["conn"] in connections:
            seconds, nanoseconds = struct.unpack("<II", header["time"])
            return StoredMessage(*connections[header["conn"]], seconds * 10**9 + nanoseconds, data)
        return None

    with path.open("rb") as file:
        if file.read(len(BAG_MAGIC)) != BAG_MAGIC:
            return
        while True:
            header = _bag_header(_read(file, struct.unpack("<I", _read(file, 4))[0]))
            size = struct.unpack("<I", _read(file, 4))[0]
            data = file.read(size)
            records: Iterable[tuple[dict[str, bytes], bytes]] = [(header, data)] if len(data) == size else []
            if header["op"][0] == 5:
                records = _bag_records(decompress(header["compression"].decode(), data))
            for inner, content in records:
                message = record(inner, content)
                if message:
                    yield message


def _bag_records(chunk: bytes) -> Iterator[tuple[dict[str, bytes], bytes]]:
    position = 0
    while position + 4 <= len(chunk):
        fields = []
        for _ in range(2):
            (size,) = struct.unpack_from("<I", chunk, position)
            position += 4
            if position + size > len(chunk):
                return
            fields.append(chunk[position : position + size])
            position += size
        yield _bag_header(fields[0]), fields[1]


def _scan_sqlite(path: Path) -> Iterator[StoredMessage]:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    held: list[StoredMessage] = []
    try:
        # SQLite refuses a file shorter than its header says, unless it may doubt the header.
        connection.execute("PRAGMA writable_schema=ON")
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        cut_page = path.stat().st_size % page != 0
        topics = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT id, name, type FROM topics")}
        # In row order, not by the time index: its pages may be the missing ones.
        for topic, stamp, data in connection.execute("SELECT topic_id, timestamp, data FROM messages NOT INDEXED"):
            if topic not in topics:
                continue
            # A page cut in two reads as if it ended in zeros. It belongs to the last message that spans pages, so each
            # of these waits until another has come.
            if len(data) > page // 8 or not cut_page:
                yield from held
                held.clear()
            held.append(StoredMessage(*topics[topic], stamp, data))
    except sqlite3.Error:
        if not held:
            raise
    finally:
        connection.close()
    yield from held[1:] if cut_page else held
