"""What is said of a recording's files while they are read: damage that costs some of it, and files that are missing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger("rtseg.storage")

_MOST = 20  # sentences of a recording
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"uuid", b"sidx", b"mfra", b"udta")
_SEGMENT = b"\x18\x53\x80\x67"  # of Matroska: all but the header


class _Sentences(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.said) < _MOST:
            self.said[record.getMessage()] = None


@contextmanager
def damage_noted() -> Iterator[dict[str, None]]:
    """Collect, each once, what the readers of recordings warn of; it goes where it went before, too.

    Yields:
        A set of sentences, in order, that grows while the block runs.
    """
    handler = _Sentences()
    logger.addHandler(handler)
    try:
        yield handler.said
    finally:
        logger.removeHandler(handler)


def missing_bytes(path: Path) -> int:
    """How many bytes a video's container says that it has, and the file has not.

    MP4 and its kin, Matroska and AVI state their sizes, MPEG-TS that of its packets. 0 where nothing is missing, the
    container does not tell, or it is another.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(400)
        if head[4:8] in _BOXES:
            end = _end_of_boxes(file, size)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _end_of_segment(file)
        elif head[:4] == b"RIFF":
            end = _end_of_riffs(file, size)
        elif head[:1] == head[188:189] == head[376:377] == b"G":
            end = -(-size // 188) * 188
        else:
            return 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        if head[4:8] not in _BOXES:
            break  # what others have put behind it
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: whatever is there
            break
        at += length
    return at


def _end_of_segment(file: BinaryIO) -> int:
    file.seek(4)
    header = _number(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _number(file)  # a recorder that was killed leaves it open
    return file.tell() + length if length is not None else 0


def _number(file: BinaryIO) -> int | None:
    """A length of EBML, None for one that is not stated."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return value if value != (1 << 7 * length) - 1 else None


def _end_of_riffs(file: BinaryIO, size: int) -> int:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        at += 8 + length
    return at
