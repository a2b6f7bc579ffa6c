"""Bytes at an offset, from a file or out of a compressed part of one, in pieces of bounded size."""

from __future__ import annotations

import bz2
import os
import sys
import zlib
from pathlib import Path
from typing import Any, Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 1 << 20
SECTOR = 4096
MAX_INFLATED = 1 << 30
"""Bytes that one compressed chunk may give; recorders write chunks of a few MiB."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
DECOMPRESSORS: dict[str, Any] = {
    "bz2": bz2.BZ2Decompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}
DECOMPRESSION_ERRORS = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zstd.ZstdError)


class ByteSource(Protocol):
    """Where records are read from."""

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer where they end."""
        ...


class FileBytes:
    """A file. Sectors that the disk cannot read any more are zeros.

    Attributes:
        size: bytes when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def at(self, offset: int, size: int) -> bytes:
        size = min(size, self.size - offset)
        if offset < 0 or size <= 0:
            return b""
        try:
            data = self._read(offset, size)
        except OSError:
            data = b"".join(
                self._sector(at, min(SECTOR, offset + size - at)) for at in range(offset, offset + size, SECTOR)
            )
        return data

    def close(self) -> None:
        self._file.close()

    def _read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file.fileno(), size, offset)
        while len(data) < size and (more := os.pread(self._file.fileno(), size - len(data), offset + len(data))):
            data += more
        return data

    def _sector(self, offset: int, size: int) -> bytes:
        try:
            return self._read(offset, size)
        except OSError:
            return bytes(size)


class Inflated:
    """What a compressed part of a file unpacks to, as far as it is sound; offsets may only go forward.

    Args:
        source: of the compressed bytes.
        start: first of them.
        end: behind the last of them.
        kind: ``zstd``, ``lz4`` or ``bz2``.

    Attributes:
        fault: why it ends before its end, empty if it does not.
        checksum: CRC-32 of what has been unpacked so far.
        whole: everything has been unpacked.
    """

    def __init__(self, source: ByteSource, start: int, end: int, kind: str) -> None:
        self._source, self._at, self._end = source, start, end
        self._decompressor = DECOMPRESSORS[kind]()
        self._buffer = bytearray()
        self._base = 0  # offset of the buffer's first byte
        self._done = False
        self.fault = ""
        self.whole = False
        self.checksum = 0

    def at(self, offset: int, size: int) -> bytes:
        while not self._done and self._base + len(self._buffer) < offset + size:
            self._inflate()
        start = offset - self._base
        return bytes(self._buffer[start : start + size])

    def release(self, offset: int) -> None:
        """Forget what is before `offset`."""
        if offset - self._base > PIECE:
            del self._buffer[: offset - self._base]
            self._base = offset

    def fill(self, size: int) -> None:
        """Unpack `size` bytes, or all if there are fewer, and keep them."""
        while not self._done and len(self._buffer) < size:
            self._inflate()

    def finish(self) -> None:
        """Unpack the rest, for its checksum."""
        while not self._done:
            self.release(self._base + len(self._buffer))
            self._inflate()

    def _inflate(self) -> None:
        try:
            data = b""
            if self._decompressor.needs_input:
                data = self._source.at(self._at, min(PIECE, self._end - self._at))
                self._at += len(data)
                if not data:
                    self._stop("its end is missing")
                    return
            piece = self._decompressor.decompress(data, PIECE)
        except DECOMPRESSION_ERRORS as error:
            self._stop(str(error) or type(error).__name__)
            return
        self._buffer += piece
        self.checksum = zlib.crc32(piece, self.checksum)
        if self._decompressor.eof:
            self._done = self.whole = True
        elif self._base + len(self._buffer) > MAX_INFLATED:
            self._stop(f"it unpacks to more than {MAX_INFLATED >> 20} MiB")

    def _stop(self, fault: str) -> None:
        self._done, self.fault = True, fault


def inflate_message(data: bytes, limit: int) -> bytes:
    """Unpack one zstd-compressed message.

    Raises:
        ValueError: it is damaged, or unpacks to more than `limit` bytes.
    """
    decompressor = zstd.ZstdDecompressor()
    try:
        content = bytes(decompressor.decompress(data, limit))
    except DECOMPRESSION_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not decompressor.eof:
        short = len(content) < limit
        raise ValueError("its end is missing" if short else f"it unpacks to more than {limit >> 20} MiB")
    return content
