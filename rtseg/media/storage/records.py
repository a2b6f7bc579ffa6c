"""Walking a file of records, past whatever is damaged in it.

``.bag`` and ``.mcap`` files are records, one after another, each telling its length. A length is believed only if
another record stands where it leads to; otherwise the next record is looked for, byte by byte. Chunks that are not
compressed are walked into as if they were not there, so that damage costs the messages it hits and no others.
"""

from __future__ import annotations

import re
import sys
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from rtseg.counted import counted
from rtseg.errors import MediaError
from rtseg.media.storage.base import Channel, Storage, StoredMessage
from rtseg.media.storage.byte_sources import DECOMPRESSORS, PIECE, ByteSource, FileBytes, Inflated
from rtseg.printing import visible

ENDLESS = sys.maxsize
MAX_SEARCH = 1 << 26
"""Bytes of a chunk's content in which a next record is looked for."""
MAX_CHECKED = 1 << 26
"""Bytes of a chunk that are unpacked at once, to compare its checksum before anything of it is given."""
MAX_EMPTY = 1_000_000
"""Records one after another without a message among them, before a file is given up."""


Place: TypeAlias = "tuple[ByteSource, int, int]"
"""Where a message's data are: from one offset to another."""


class Record(NamedTuple):
    """A record: its first byte, its content, the byte behind it, and what else its header says.

    A chunk may be cut: it claims to go on behind the end of the file.
    """

    kind: int
    start: int
    body: int
    end: int
    fields: Any = None
    cut: bool = False


class Chunk(NamedTuple):
    """Records in a record: where they begin, how they are compressed, and their checksum (0 for none)."""

    body: int
    compression: str
    checksum: int


class RecordStorage(Storage):
    """A file of records; what they look like is told by a subclass.

    Attributes:
        MAGIC: the file's first bytes.
        MAX_CANDIDATES: places in a file that look like a record and are none, before it is given up.
        OVERLAP: bytes that a record's beginning may take, by which pieces overlap in which it is looked for.
    """

    MAGIC: bytes
    MAX_CANDIDATES: int
    OVERLAP: int

    def __init__(self, path: Path, file: Path | None = None) -> None:
        super().__init__(path)
        self._channels: dict[Any, Channel] = {}
        self._chunk_channels: dict[int, frozenset[Any]] = {}
        self._stamp: int | None = None  # of some message near by
        self._candidates = 0
        self._empty = 0
        try:
            self._file = FileBytes(file or path)
        except OSError as error:
            raise MediaError(
                f"expected a recording, got {visible(path)} that cannot be read: {error.strerror}"
            ) from error
        try:
            reason = self._read_index()
            if reason:
                found = self._count(channel for channel, _, _ in self._scan(None))
                self.tell(f"has no usable index ({reason}); going on with the {counted(found, 'message')} found")
            if not self.counts and self._file.at(0, len(self.MAGIC)) != self.MAGIC:
                raise MediaError(
                    f"expected a recording, got {visible(path)} that does not start as one; copy or record it again"
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def messages(self, topics: set[str]) -> Iterator[StoredMessage]:
        for channel, stamp, (source, start, end) in self._scan(topics):
            if channel.topic in topics:
                yield StoredMessage(channel, stamp, source.at(start, end - start))

    # What a format tells.

    @abstractmethod
    def _read_index(self) -> str:
        """Read channels, counts, and which chunk holds what; the reason if that cannot be had."""

    @abstractmethod
    def _record_at(self, source: ByteSource, offset: int, end: int) -> Record | None:
        """The record that begins at `offset`, None if what is there is none."""

    @abstractmethod
    def _pattern(self) -> re.Pattern[bytes]:
        """What a record that is worth going on with looks like."""

    @abstractmethod
    def _starts(self, source: ByteSource, offset: int) -> Iterator[int]:
        """Where the record may begin whose pattern was found at `offset`."""

    @abstractmethod
    def _is_last(self, record: Record) -> bool:
        """Whether only the index follows."""

    @abstractmethod
    def _chunk(self, source: ByteSource, record: Record) -> Chunk | None:
        """The chunk that the record is, None if it is none."""

    @abstractmethod
    def _message(self, source: ByteSource, record: Record) -> tuple[Channel, int, int] | None:
        """Channel, stamp and offset of the data of the message that the record is; learns of channels from others."""

    # The walk.

    def _scan(self, topics: set[str] | None) -> Iterator[tuple[Channel, int, Place]]:
        """Give the channel, the stamp and the place of every message, but for chunks without any of `topics`."""
        self._candidates = self._empty = 0
        for record, limit in self._walk(self._file, len(self.MAGIC), self._file.size, topics):
            chunk = self._chunk(self._file, record)
            if chunk is None:
                yield from self._message_in(self._file, record)
                if self._empty > MAX_EMPTY:
                    self.tell(f"holds no message in {MAX_EMPTY} records; the rest of it is left out")
                    return
                continue
            if topics is not None and self._without(record.start, topics):
                continue
            if chunk.compression in DECOMPRESSORS:
                yield from self._unpack(record, chunk, limit)
            elif chunk.compression:
                name = visible(chunk.compression)
                self.tell(f"has chunks compressed by {name}, which is not known here; they are left out")

    def _message_in(self, source: ByteSource, record: Record) -> Iterator[tuple[Channel, int, Place]]:
        """The message that a record is, if it is one."""
        message = self._message(source, record)
        self._empty = 0 if message else self._empty + 1
        if message:
            yield message[0], message[1], (source, message[2], record.end)

    def _unpack(self, record: Record, chunk: Chunk, limit: int) -> Iterator[tuple[Channel, int, Place]]:
        """The messages of a compressed chunk whose bytes end at `limit`."""
        content = Inflated(self._file, chunk.body, limit, chunk.compression)
        if chunk.checksum:
            content.fill(MAX_CHECKED)
            if content.whole and chunk.checksum != content.checksum:
                self.tell(f"is damaged: the chunk at byte {record.start}, whose checksum does not fit, is left out")
                return
        for inner, _ in self._walk(content, 0, ENDLESS, None):
            yield from self._message_in(content, inner)
            content.release(inner.end)
            if self._empty > MAX_EMPTY:
                break
        content.finish()
        if content.fault:
            self.tell(f"is damaged: a chunk at byte {record.start} does not unpack ({visible(content.fault)})")
        elif chunk.checksum and chunk.checksum != content.checksum:
            self._doubt(record.start)

    def _walk(self, source: ByteSource, start: int, end: int, topics: set[str] | None) -> Iterator[tuple[Record, int]]:
        """Give records, each with the offset at which its content ends at the latest."""
        offset: int | None = start
        record = self._record_at(source, start, end)
        while offset is not None:
            if record is None:
                if not source.at(offset, 1):
                    return
                offset, record = self._resume(source, offset, offset + 1, end)
                continue
            if self._is_last(record):
                return
            goes_on = self._next(source, record, end, topics)
            following = self._record_at(source, goes_on, end)
            limit = record.end
            if following is None and (record.cut or source.at(goes_on, 1)):
                # Either this record's length lies, or the next one is damaged.
                goes_on, following = self._resume(source, goes_on, offset + 1, end)
                if goes_on is not None and goes_on < record.end:
                    limit = goes_on
                    if self._chunk(source, record) is None:
                        offset, record = goes_on, following
                        continue
            yield record, limit
            offset, record = goes_on, following

    def _next(self, source: ByteSource, record: Record, end: int, topics: set[str] | None) -> int:
        """Where to go on behind a record: within it, if it is a chunk that is not compressed."""
        chunk = self._chunk(source, record)
        if chunk is None or (topics is not None and self._without(record.start, topics)):
            return record.end
        if not chunk.compression:
            if (
                chunk.checksum
                and record.end <= end
                and self._checksum(source, chunk.body, record.end) != chunk.checksum
            ):
                self._doubt(record.start)
            return chunk.body
        return record.end

    def _without(self, chunk: int, topics: set[str]) -> bool:
        """Whether the index says that a chunk holds none of the topics."""
        held = self._chunk_channels.get(chunk)
        return bool(held) and not any(k not in self._channels or self._channels[k].topic in topics for k in held or ())

    def _resume(self, source: ByteSource, damage: int, start: int, end: int) -> tuple[Any, Record | None]:
        """Find the first record from `start` on behind damage; (None, None) if there is none."""
        pattern, position = self._pattern(), start
        while position < end and not (isinstance(source, Inflated) and position - start > MAX_SEARCH):
            piece = source.at(position, PIECE)
            for match in pattern.finditer(piece):
                for candidate in self._starts(source, position + match.start()):
                    record = self._record_at(source, candidate, end) if candidate >= start else None
                    if record:
                        self._tell_damage(source, damage, candidate)
                        return candidate, record
                self._candidates += 1
                if self._candidates > self.MAX_CANDIDATES:
                    self.tell("is too damaged to go on with; the rest of it is left out")
                    return None, None
            if len(piece) < PIECE:
                break
            position += PIECE - self.OVERLAP
        self._tell_damage(source, damage, None)
        return None, None

    def _tell_damage(self, source: ByteSource, start: int, end: int | None) -> None:
        where = "at" if isinstance(source, FileBytes) else "in a chunk, at unpacked"
        rest = (
            "what is sound goes no further"
            if end is None
            else f"going on {counted(max(end - start, 0), 'byte')} further"
        )
        self.tell(f"is damaged {where} byte {start}; {rest}")

    def _doubt(self, offset: int) -> None:
        self.tell(f"is damaged in the chunk at byte {offset}, whose checksum does not fit: some messages may be wrong")

    @staticmethod
    def _checksum(source: ByteSource, start: int, end: int) -> int:
        checksum = 0
        for at in range(start, end, PIECE):
            checksum = zlib.crc32(source.at(at, min(PIECE, end - at)), checksum)
        return checksum
