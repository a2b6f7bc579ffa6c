"""Whole files that were compressed after recording, unpacked into a temporary folder."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rtseg.errors import MediaError
from rtseg.media.damage import logger
from rtseg.media.storage.byte_sources import DECOMPRESSION_ERRORS, PIECE, zstd
from rtseg.printing import visible

RESERVE = 1 << 30
"""Bytes of the disk that unpacking leaves free, since others need it too."""


def room_for(size: int) -> bool:
    """Whether the folder for temporary files has room for so many bytes more."""
    return shutil.disk_usage(tempfile.gettempdir()).free - size > RESERVE


class Unpacked:
    """A zstd file as a temporary file, which is gone when this is closed.

    Attributes:
        file: what was unpacked, all that is sound of it.

    Raises:
        MediaError: nothing of it unpacks, or there is no room.
    """

    def __init__(self, path: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rtseg-")
        self.file = Path(self._folder.name) / "recording"
        try:
            fault = self._unpack(path)
            if not self.file.stat().st_size:
                raise MediaError(
                    f"expected a zstd file, got {visible(path)} of which nothing unpacks ({fault or 'it is empty'}); "
                    "copy it again"
                )
        except OSError as error:
            self.close()
            raise MediaError(f"expected to unpack {visible(path)}, got {error}; run zstd -d first") from error
        except BaseException:
            self.close()
            raise
        if fault:
            logger.warning("%s is damaged (%s); going on with what unpacks of it", visible(path), fault)

    def close(self) -> None:
        """Delete it."""
        self._folder.cleanup()

    def _unpack(self, path: Path) -> str:
        """Write what unpacks; the reason why the rest does not."""
        written = 0
        try:
            with path.open("rb") as raw, self.file.open("wb") as out:
                for piece in _inflated(raw):
                    if written % (64 * PIECE) < PIECE and not room_for(64 * PIECE):
                        raise MediaError(
                            f"expected room to unpack {visible(path)} in {tempfile.gettempdir()}, got less than "
                            f"{RESERVE >> 30} GiB left; run zstd -d on it where there is room"
                        )
                    out.write(piece)
                    written += len(piece)
        except DECOMPRESSION_ERRORS as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            return visible(str(error) or type(error).__name__)
        return ""


def _inflated(raw: BinaryIO) -> Iterator[bytes]:
    """What a file of zstd frames unpacks to, in pieces.

    Raises:
        EOFError: its end is missing.
    """
    decompressor = zstd.ZstdDecompressor()
    data = raw.read(PIECE)
    while True:
        yield decompressor.decompress(data, PIECE)
        data = b""
        if decompressor.eof:
            data = decompressor.unused_data or raw.read(PIECE)
            if not data:
                return
            decompressor = zstd.ZstdDecompressor()
        elif decompressor.needs_input:
            data = raw.read(PIECE)
            if not data:
                raise EOFError("its end is missing")
