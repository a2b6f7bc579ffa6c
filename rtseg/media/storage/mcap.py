"""MCAP files, chunked or not, with or without their index."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from rtseg.media.storage.base import MAX_MESSAGE, Channel, message_type
from rtseg.media.storage.byte_sources import ByteSource
from rtseg.media.storage.records import Chunk, Record, RecordStorage

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = 1, 2, 3, 4, 5, 6, 8, 11, 15
MAX_SUMMARY = 1 << 28
MAX_DEFINITION = 1 << 24


class McapStorage(RecordStorage):
    """An MCAP file of ROS 2 messages, or of ROS 1 messages.

    Raises:
        MediaError: it cannot be read, or is no MCAP file.
    """

    MAGIC = b"\x89MCAP0\r\n"
    MAX_CANDIDATES = 1_000_000
    OVERLAP = 64

    def _read_index(self) -> str:
        self._schemas: dict[int, str] = {}
        self._spare: dict[int, Channel] = {}  # of an index that may be wrong
        footer = self._file.at(self._file.size - 37, 37)
        if len(footer) < 37 or footer[29:] != self.MAGIC or footer[:9] != b"\x02\x14" + bytes(7):
            return "its end is missing"
        summary, _, checksum = struct.unpack_from("<QQI", footer, 9)
        if not summary:
            return "it was written without"
        size = self._file.size - 37 - summary
        if not 0 <= size <= MAX_SUMMARY:
            return "its end is damaged"
        content = self._file.at(summary, size)
        sound = not checksum or zlib.crc32(footer[:25], zlib.crc32(content)) == checksum
        counts = self._read_summary(content)
        if not sound:
            self._spare, self._channels, self._schemas = self._channels, {}, {}
            self._chunk_channels.clear()
            return "its checksum does not fit"
        unknown = any(
            channel.encoding in ("cdr", "ros1") and not channel.msgtype for channel in self._channels.values()
        )
        if counts is None or unknown or not set(counts) <= set(self._channels):
            return "it does not tell all"
        for number, channel in self._channels.items():
            self.counts[channel] = self.counts.get(channel, 0) + counts.get(number, 0)
        return ""

    def _read_summary(self, content: bytes) -> dict[int, int] | None:
        """Learn channels and where their chunks are; message counts by channel, None if they do not add up."""
        counts, position = None, 0
        try:
            while position < len(content):
                kind, size = struct.unpack_from("<BQ", content, position)
                body = content[position + 9 : position + 9 + size]
                if len(body) < size:
                    return None
                position += 9 + size
                if kind in (SCHEMA, CHANNEL):
                    self._define(kind, body)
                elif kind == CHUNK_INDEX:
                    (chunk,) = struct.unpack_from("<Q", body, 16)
                    (length,) = struct.unpack_from("<I", body, 32)
                    if len(body) >= 36 + length:
                        self._chunk_channels[chunk] = frozenset(
                            n for n, _ in struct.iter_unpack("<HQ", body[36 : 36 + length])
                        )
                elif kind == STATISTICS:
                    (total,) = struct.unpack_from("<Q", body)
                    (length,) = struct.unpack_from("<I", body, 42)
                    counts = dict(struct.iter_unpack("<HQ", body[46 : 46 + length]))
                    if sum(counts.values()) != total or total > self._file.size << 6:
                        return None
        except struct.error:
            return None
        return counts

    def _record_at(self, source: ByteSource, offset: int, end: int) -> Record | None:
        header = source.at(offset, 9)
        if len(header) < 9:
            return None
        kind, size = struct.unpack("<BQ", header)
        behind = offset + 9 + size
        cut = behind > end or not source.at(behind - 1, 1)
        if kind == CHUNK:
            complete = size >= 40 and len(source.at(offset + 9, 40)) == 40
            return Record(kind, offset, offset + 9, min(behind, end), None, cut) if complete else None
        if cut or not (0 < kind <= DATA_END or kind >= 0x80):
            return None
        if kind == MESSAGE and not 22 <= size <= MAX_MESSAGE:
            return None
        if kind in (SCHEMA, CHANNEL) and (size > MAX_DEFINITION or not _fits(kind, source.at(offset + 9, size))):
            return None
        return Record(kind, offset, offset + 9, behind)

    def _pattern(self) -> re.Pattern[bytes]:
        chunk = rb"\x06.{5}\x00{3}.{28}(?:\x00{4}|\x03\x00{3}lz4|\x04\x00{3}zstd)"
        definition = rb"[\x03\x04].{3}\x00{5}"
        numbers = (
            b"|".join(re.escape(struct.pack("<H", number)) for number in {**self._spare, **self._channels}) or b".."
        )
        time = b".."
        if self._stamp is not None:  # 2**48 ns are three days
            days = range(max((self._stamp >> 48) - 1, 0), min((self._stamp >> 48) + 2, 1 << 16))
            time = b"(?:" + b"|".join(re.escape(struct.pack("<H", day)) for day in days) + b")"
        message = rb"\x05.{3}.\x00{4}(?:" + numbers + rb").{4}.{6}" + time
        return re.compile(b"(?=" + b"|".join((chunk, message, definition)) + b")", re.DOTALL)

    def _starts(self, source: ByteSource, offset: int) -> Iterator[int]:
        head = source.at(offset, 49)
        if head[:1] != b"\x06" or (len(head) >= 41 and _plausible_chunk(head)):
            yield offset

    def _is_last(self, record: Record) -> bool:
        return (record.kind == DATA_END and record.end - record.body == 4) or record.kind == FOOTER

    def _chunk(self, source: ByteSource, record: Record) -> Chunk | None:
        if record.kind != CHUNK:
            return None
        checksum, length = struct.unpack("<II", source.at(record.body + 24, 8))
        if length > 64 or length > record.end - record.body - 40:
            return Chunk(record.body + 40, "?", 0)
        name = source.at(record.body + 32, length).decode(errors="replace")
        return Chunk(record.body + 40 + length, name if name != "none" else "", checksum)

    def _message(self, source: ByteSource, record: Record) -> tuple[Channel, int, int] | None:
        if record.kind in (SCHEMA, CHANNEL):
            self._define(record.kind, source.at(record.body, record.end - record.body))
        if record.kind != MESSAGE:
            return None
        number, _, stamp = struct.unpack("<HIQ", source.at(record.body, 14))
        channel = self._channels.get(number) or self._spare.get(number)
        if channel is None:
            self.tell(f"is damaged: it does not tell what the messages of channel {number} are; they are left out")
            return None
        self._stamp = stamp
        return channel, stamp, record.body + 22

    def _define(self, kind: int, body: bytes) -> None:
        texts = _texts(kind, body)
        if texts is None:
            return
        number, rest = texts
        if kind == SCHEMA:
            self._schemas.setdefault(number, message_type(rest[0]))
            return
        schema, topic, encoding = int(rest[0]), rest[1], rest[2]
        found = Channel(topic, self._schemas.get(schema, ""), encoding)
        if number not in self._channels or not self._channels[number].msgtype:
            self._channels[number] = found


def _plausible_chunk(head: bytes) -> bool:
    size, first, last, unpacked, _, length = struct.unpack_from("<QQQQII", head, 1)
    return first <= last and (length > 0 or unpacked == size - 40)


def _texts(kind: int, body: bytes) -> tuple[int, list[str]] | None:
    """Number and texts of a schema (name, encoding) or a channel (schema, topic, encoding); None if it is none."""
    try:
        (number,) = struct.unpack_from("<H", body)
        position, texts = 2, []
        if kind == CHANNEL:
            texts.append(str(struct.unpack_from("<H", body, 2)[0]))
            position = 4
        for _ in range(2):
            (length,) = struct.unpack_from("<I", body, position)
            text = body[position + 4 : position + 4 + length]
            if len(text) < length:
                return None
            texts.append(text.decode())
            position += 4 + length
        (length,) = struct.unpack_from("<I", body, position)
    except (struct.error, UnicodeDecodeError):
        return None
    return (number, texts) if position + 4 + length == len(body) else None


def _fits(kind: int, body: bytes) -> bool:
    return _texts(kind, body) is not None
