"""Rows out of the pages of an SQLite file, without SQLite: what is left where its trees are damaged.

Every leaf page of a table is looked into by itself, so that a damaged page, or a damaged way to it, costs its own rows
and no others. The layout is that of https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from rtseg.media.storage.base import MAX_MESSAGE
from rtseg.media.storage.byte_sources import FileBytes

LEAF_OF_TABLE = 0x0D
MAGIC = b"SQLite format 3\x00"
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)


class Cell(NamedTuple):
    """A row: its key, the bytes of its record, where those in its page are and how many, and the page of the rest."""

    row: int
    size: int
    start: int
    local: int
    overflow: int


class Pages:
    """The pages of a file.

    Args:
        file: that begins with an SQLite header, maybe a damaged one.

    Attributes:
        size: bytes a page.
        cut: the file is shorter than its header says.
    """

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        header = file.at(0, 100).ljust(100, b"\0")
        (size,) = struct.unpack_from(">H", header, 16)
        size = 65536 if size == 1 else size
        reserved = header[20]
        if size < 512 or size & (size - 1) or size - reserved < 480:
            size, reserved = self._guess_size(), 0
        self.size = size
        self._usable = size - reserved
        changes, pages = struct.unpack_from(">II", header, 24)
        # Writers of old leave the number of pages as it was, and say so by another count of changes.
        self.cut = header[92:96] == struct.pack(">I", changes) and file.size < pages * size

    def _guess_size(self) -> int:
        """The size at whose multiples most pages look like leaves; that of SQLite by default if none does."""

        def leaves(size: int) -> int:
            return sum(self._file.at(at, 1) == b"\x0d" for at in range(size, min(self._file.size, 256 * size), size))

        return max((4096, 1024, 8192, 16384, 2048, 512, 32768, 65536), key=leaves)

    def cells(self) -> Iterator[tuple[Cell, bytes]]:
        """The cells of all leaves, each with what its page holds of its record, in the order of the file."""
        for number in range(self._file.size // self.size + 1):
            start = 100 if number == 0 else 0
            if self._file.at(number * self.size + start, 1) != b"\x0d":
                continue
            page = self._file.at(number * self.size, self.size)
            if len(page) >= start + 8:
                for cell in self._cells_of(page, start):
                    begin = cell.start
                    yield cell._replace(start=number * self.size + begin), page[begin : begin + cell.local]

    def _cells_of(self, page: bytes, start: int) -> Iterator[Cell]:
        (count,) = struct.unpack_from(">H", page, start + 3)
        end = min(start + 8 + 2 * count, len(page) - 1)
        for (offset,) in struct.iter_unpack(">H", page[start + 8 : end - (end - start) % 2]):
            cell = self._cell(page, offset) if start + 8 <= offset < len(page) - 4 else None
            if cell is not None:
                yield cell

    def _cell(self, page: bytes, offset: int) -> Cell | None:
        try:
            size, position = _varint(page, offset)
            row, position = _varint(page, position)
        except IndexError:
            return None
        local = self._local_bytes(size)
        if not 0 < size <= MAX_MESSAGE or position + local > len(page):
            return None
        overflow = 0
        if local < size:
            if position + local + 4 > len(page):
                return None
            (overflow,) = struct.unpack_from(">I", page, position + local)
        return Cell(row, size, position, local, overflow)

    def _local_bytes(self, size: int) -> int:
        most = self._usable - 35
        if size <= most:
            return size
        least = (self._usable - 12) * 32 // 255 - 23
        fitted = least + (size - least) % (self._usable - 4)
        return fitted if fitted <= most else least

    def record(self, cell: Cell) -> bytes | None:
        """The whole record of a cell; None if a page of it is missing."""
        parts = [self._file.at(cell.start, cell.local)]
        missing, page = cell.size - cell.local, cell.overflow
        while missing > 0:
            content = self._file.at((page - 1) * self.size, self._usable) if page else b""
            piece = content[4 : 4 + missing]
            if len(piece) < min(missing, self._usable - 4):
                return None
            parts.append(piece)
            missing -= len(piece)
            (page,) = struct.unpack_from(">I", content)
        return b"".join(parts)


def columns(record: bytes) -> list[Any] | None:
    """The values of a record (the first bytes of one will do): numbers, text, None, and (start, size) for blobs.

    None if it does not parse.
    """
    try:
        end, position = _varint(record, 0)
        kinds = []
        while position < end:
            kind, position = _varint(record, position)
            kinds.append(kind)
    except IndexError:
        return None
    if position != end or len(kinds) > 64:
        return None
    values: list[Any] = []
    for kind in kinds:
        if kind >= 12:
            size = (kind - 12) // 2
            text = record[position : position + size]
            values.append((position, size) if kind % 2 == 0 else text.decode(errors="replace"))
        elif kind in (8, 9):
            values.append(kind - 8)
            size = 0
        elif kind <= 6:
            size = _INTEGER_BYTES[kind]
            values.append(int.from_bytes(record[position : position + size], "big", signed=True) if kind else None)
        else:
            return None
        position += size
    return values


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = data[position + index]
        if index == 8:
            return (value << 8) | byte, position + 9
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            break
    return value, position + index + 1
