"""Seeded damage to recordings, and which frames it cannot have touched."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import lz4.frame
import numpy as np

from rtseg.errors import RtsegError
from rtseg.media.bags import BagSource
from tests.media.recordings import PERIOD, RAW, START, Messages, drive, write_bag

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMATS = ("bag", "bag-lz4", "db3", "mcap", "mcap-flat", "mcap-lz4", "mcap-zstd")
FRAMES = 24


@dataclass(frozen=True)
class Recording:
    """A sound file, and the bytes each frame depends on: any of the ranges of `vital[i]` hit, and it may be lost."""

    kind: str
    suffix: str
    content: bytes
    vital: tuple[tuple[tuple[int, int], ...], ...]


def mcap(chunks: list[list[tuple[int, bytes]]], compression: str) -> bytes:
    """Write an MCAP file of (stamp, message) by chunk, with index and checksums; "flat" has no chunks."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<BQ", kind, len(body)) + body

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    schema = record(3, struct.pack("<H", 1) + text("sensor_msgs/msg/Image") + text("ros2msg") + text(""))
    channel = record(4, struct.pack("<HH", 1, 1) + text(RAW) + text("cdr") + text(""))
    out = bytearray(b"\x89MCAP0\r\n" + record(1, text("ros2") + text("tests")))
    index, total, first = b"", 0, True
    pack = {"lz4": lz4.frame.compress, "zstd": zstd.compress}.get(compression, bytes)
    for messages in chunks:
        body = schema + channel if first else b""
        first = False
        for stamp, data in messages:
            body += record(5, struct.pack("<HIQQ", 1, total, stamp, stamp) + data)
            total += 1
        if compression == "flat":
            out += body
            continue
        stamps = [stamp for stamp, _ in messages]
        packed = bytes(pack(body))
        chunk = record(
            6,
            struct.pack("<QQQI", min(stamps), max(stamps), len(body), zlib.crc32(body))
            + text(compression)
            + struct.pack("<Q", len(packed))
            + packed,
        )
        start = len(out)
        out += chunk
        entries = b"".join(struct.pack("<QQ", stamp, 0) for stamp in stamps)
        where = len(out)
        out += record(7, struct.pack("<HI", 1, len(entries)) + entries)
        index += record(
            8,
            struct.pack("<QQQQ", min(stamps), max(stamps), start, len(chunk))
            + struct.pack("<IHQ", 10, 1, where)
            + struct.pack("<Q", len(out) - where)
            + text(compression)
            + struct.pack("<QQ", len(packed), len(body)),
        )
    out += record(15, bytes(4))
    summary = len(out)
    counts = struct.pack("<IHQ", 10, 1, total)
    statistics = record(11, struct.pack("<QHIIIIQQ", total, 1, 1, 0, 0, len(chunks), 0, 0) + counts)
    tail = schema + channel + index + statistics
    footer = struct.pack("<BQQQ", 2, 20, summary, 0)
    return bytes(out + tail + footer + struct.pack("<I", zlib.crc32(tail + footer)) + b"\x89MCAP0\r\n")


def make(kind: str, folder: Path) -> Recording:
    """A recording of `FRAMES` raw pictures."""
    messages = Messages(ros1=kind.startswith("bag"))
    if kind.startswith("mcap"):
        stored = [
            (START + i * PERIOD, messages.serialize(messages.image(i, START + i * PERIOD))) for i in range(FRAMES)
        ]
        compression = kind.partition("-")[2]
        content = mcap([stored[i : i + 4] for i in range(0, FRAMES, 4)], compression)
        return Recording(kind, ".mcap", content, tuple(_vital_mcap(content, compression, stored)))
    folder.mkdir(parents=True, exist_ok=True)
    path = write_bag(folder, kind, drive(messages, FRAMES), messages)
    file = path if path.is_file() else next(path.glob("*.db3"))
    content = file.read_bytes()
    vital = _vital_sqlite(content, messages) if kind == "db3" else [((0, len(content)),)] * FRAMES
    return Recording(kind, file.suffix, content, tuple(vital))


def _vital_mcap(content: bytes, compression: str, stored: list[tuple[int, bytes]]) -> list[tuple[tuple[int, int], ...]]:
    """What a message is (twice in the file) is not vital, its own record is; of compressed ones, the whole chunk."""
    if compression in ("", "flat"):
        places = [content.index(data) for _, data in stored]
        return [((at - 31, at + len(data)),) for at, (_, data) in zip(places, stored, strict=True)]
    starts, position = [], 8
    while content[position] != 15:
        kind, size = struct.unpack_from("<BQ", content, position)
        if kind == 6:
            starts.append((position, position + 9 + size))
        position += 9 + size
    return [(starts[i // 4],) for i in range(len(stored))]


def _vital_sqlite(content: bytes, messages: Messages) -> list[tuple[tuple[int, int], ...]]:
    """The pages of a message, and that of the topics, which are nowhere else."""
    page = 4096
    topics = [match.start() // page * page for match in re.finditer(re.escape(RAW.encode()), content)]
    vital = []
    for i in range(FRAMES):
        stamp = START + i * PERIOD
        data = messages.serialize(messages.image(i, stamp))
        at = content.index(data[:200])
        local = next(n for n in range(200, page) if content[at + n] != data[n])
        pages = [at // page]
        # The message goes on in pages each of which begins with the number of the next.
        places = (_page(content, at + n) for n in range(local, local - 4, -1))
        pointer = next(place for place in places if 0 < place <= len(content) // page)
        while pointer:
            pages.append(pointer - 1)
            pointer = _page(content, (pointer - 1) * page)
        vital.append(tuple((at, at + page) for at in (*topics, *(p * page for p in pages))))
    return vital


def _page(content: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", content, at)[0])


def damage(content: bytes, rng: np.random.Generator, shifting: bool) -> tuple[bytes, list[tuple[int, int]]]:
    """Hurt a file as disks, cables and power cuts do; the ranges that are not what they were.

    With `shifting`, bytes may also be gone, so that what follows moves up.
    """
    hurt = bytearray(content)
    size = len(content)
    kind = rng.choice(["bits", "bytes", "zeros", "ones", "noise", "sector", "length", "cut", "gone"][: 8 + shifting])
    start = int(rng.integers(0, size))
    if kind == "cut":
        return bytes(hurt[:start]), [(start, size)]
    if kind == "gone":
        return bytes(hurt[:start] + hurt[start + int(rng.integers(1, 5000)) :]), [(0, size)]
    if kind == "length":  # somewhere, a number becomes another
        numbers = (0, 1, 2**16, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)
        piece = struct.pack("<Q", numbers[rng.integers(len(numbers))])
    elif kind == "bits":
        piece = bytes([hurt[start] ^ (1 << int(rng.integers(8)))])
    elif kind == "bytes":
        piece = rng.bytes(1)
    elif kind == "sector":
        start, piece = start // 512 * 512, bytes(512)
    else:
        length = int(rng.integers(1, 3000))
        piece = {"zeros": bytes(length), "ones": b"\xff" * length, "noise": rng.bytes(length)}[str(kind)]
    piece = piece[: size - start]
    hurt[start : start + len(piece)] = piece
    return bytes(hurt), [(start, start + len(piece))]


def untouched(recording: Recording, ranges: list[tuple[int, int]]) -> set[int]:
    """Frames none of whose bytes were hurt."""
    return {
        i
        for i, vital in enumerate(recording.vital)
        if not any(a < end and start < b for a, b in vital for start, end in ranges)
    }


def read(path: Path) -> dict[int, np.ndarray] | RtsegError:
    """The pictures that a damaged recording gives, by number; the error if it gives none."""
    try:
        with BagSource(path) as source:
            return {round((frame.stamp - START) / PERIOD): frame.image for frame in source if frame.stamp is not None}
    except RtsegError as error:
        return error
