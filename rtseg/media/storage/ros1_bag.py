"""Bags of ROS 1, version 2.0, with or without their index."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from rtseg.media.storage.base import MAX_MESSAGE, Channel, message_type
from rtseg.media.storage.byte_sources import ByteSource
from rtseg.media.storage.records import Chunk, Record, RecordStorage

MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
MAX_HEADER = 1 << 16
MAX_INDEX = 1 << 28


class Ros1Storage(RecordStorage):
    """A ``.bag`` file.

    Raises:
        MediaError: it cannot be read, or is no bag of version 2.0.
    """

    MAGIC = b"#ROSBAG V2.0\n"
    MAX_CANDIDATES = 20_000  # each is looked at from many sides
    OVERLAP = 1024

    def _read_index(self) -> str:
        header = self._record_at(self._file, len(self.MAGIC), self._file.size)
        if header is None or header.kind != BAG_HEADER:
            return "its beginning is damaged"
        try:
            (start,) = struct.unpack("<Q", header.fields["index_pos"])
            connections, chunks = struct.unpack("<II", header.fields["conn_count"] + header.fields["chunk_count"])
        except (KeyError, struct.error):
            return "its beginning is damaged"
        if not start:
            return "its recorder did not end well"
        if not header.end <= start <= self._file.size or self._file.size - start > MAX_INDEX:
            return "its end is missing"
        offset = start
        counts: dict[bytes, int] = {}
        while (record := self._record_at(self._file, offset, self._file.size)) is not None:
            self._message(self._file, record)
            if record.kind == CHUNK_INFO:
                self._read_chunk_info(record, counts)
            offset = record.end
        if offset != self._file.size or len(self._channels) != connections or len(self._chunk_channels) != chunks:
            self._chunk_channels.clear()
            return "its end is damaged"
        for number, channel in self._channels.items():
            self.counts[channel] = self.counts.get(channel, 0) + counts.get(number, 0)
        return ""

    def _read_chunk_info(self, record: Record, counts: dict[bytes, int]) -> None:
        data = self._file.at(record.body, record.end - record.body)
        try:
            (chunk,) = struct.unpack("<Q", record.fields["chunk_pos"])
            held = list(struct.iter_unpack("<4sI", data))
        except (KeyError, struct.error):
            return
        self._chunk_channels[chunk] = frozenset(number for number, _ in held)
        for number, count in held:
            counts[number] = counts.get(number, 0) + count

    def _record_at(self, source: ByteSource, offset: int, end: int) -> Record | None:
        size = source.at(offset, 4)
        if len(size) < 4:
            return None
        (length,) = struct.unpack("<I", size)
        if not 8 <= length <= MAX_HEADER:
            return None
        header = source.at(offset + 4, length + 4)
        fields = _fields(header[:length]) if len(header) == length + 4 else None
        if fields is None or len(fields.get("op", b"")) != 1:
            return None
        (size_of_data,) = struct.unpack_from("<I", header, length)
        body = offset + 8 + length
        kind = fields["op"][0]
        behind = body + size_of_data
        cut = behind > end or (size_of_data > 0 and not source.at(behind - 1, 1))
        if kind == CHUNK:
            return Record(kind, offset, body, min(behind, end), fields, cut)
        if cut or not MESSAGE <= kind <= CONNECTION:
            return None
        if kind == MESSAGE and (
            size_of_data > MAX_MESSAGE or len(fields.get("time", b"")) != 8 or "conn" not in fields
        ):
            return None
        return Record(kind, offset, body, behind, fields)

    def _pattern(self) -> re.Pattern[bytes]:
        return re.compile(rb"\x04\x00\x00\x00op=[\x02\x05\x07]", re.DOTALL)

    def _starts(self, source: ByteSource, offset: int) -> Iterator[int]:
        # Fields come in any order, so the header's own length is somewhere before.
        first = max(offset - self.OVERLAP // 2, 0)
        before = source.at(first, offset - first)
        for back in range(4, len(before) + 1):
            (length,) = struct.unpack_from("<I", before, len(before) - back)
            if back + 4 <= length <= self.OVERLAP:
                yield offset - back

    def _is_last(self, record: Record) -> bool:
        return record.kind == CHUNK_INFO

    def _chunk(self, source: ByteSource, record: Record) -> Chunk | None:
        if record.kind != CHUNK:
            return None
        name = record.fields.get("compression", b"?").decode(errors="replace")
        return Chunk(record.body, "" if name == "none" else name or "?", 0)

    def _message(self, source: ByteSource, record: Record) -> tuple[Channel, int, int] | None:
        number = record.fields.get("conn", b"")
        if record.kind == CONNECTION and number not in self._channels:
            about = _fields(source.at(record.body, record.end - record.body)) or {}
            topic = record.fields.get("topic", b"").decode(errors="replace")
            self._channels[number] = Channel(
                topic, message_type(about.get("type", b"").decode(errors="replace")), "ros1"
            )
        if record.kind != MESSAGE:
            return None
        if number not in self._channels:
            self.tell("is damaged: it does not tell what some messages are; they are left out")
            return None
        seconds, nanoseconds = struct.unpack("<II", record.fields["time"])
        return self._channels[number], seconds * 10**9 + nanoseconds, record.body


def _fields(data: bytes) -> dict[str, bytes] | None:
    """The fields of a header, None if it does not parse."""
    fields: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            return None
        (size,) = struct.unpack_from("<I", data, position)
        position += 4 + size
        name, equals, value = data[position - size : position].partition(b"=")
        if position > len(data) or not equals or not name.isascii():
            return None
        fields[name.decode()] = value
    return fields
