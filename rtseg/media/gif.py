"""GIF files by their blocks: how many pictures are whole. Decoders fill up what is missing of one, and say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_START = (b"GIF87a", b"GIF89a")
_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B


@dataclass(frozen=True)
class GifBlocks:
    """What a GIF file holds.

    Attributes:
        whole: pictures that are there with all their blocks.
        ended: whether the file ends as it should.
    """

    whole: int
    ended: bool


def gif_blocks(path: Path) -> GifBlocks | None:
    """Look through a file's blocks, decoding nothing; None of one that is no GIF.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return blocks_of(file)


def blocks_of(file: BinaryIO) -> GifBlocks | None:
    """As :func:`gif_blocks`, of a file that is open at its start."""
    if file.read(6) not in _START:
        return None
    screen = file.read(7)
    if len(screen) < 7 or not _skip(file, _colors(screen[4])):
        return GifBlocks(0, ended=False)
    whole = 0
    while kind := file.read(1):
        if kind[0] == _END:
            return GifBlocks(whole, ended=True)
        if kind[0] == _EXTENSION:
            if not (_skip(file, 1) and _skip_blocks(file)):
                break
        elif kind[0] == _PICTURE:
            head = file.read(9)
            if len(head) < 9 or not (_skip(file, _colors(head[8]) + 1) and _skip_blocks(file)):
                break
            whole += 1
        else:
            break
    return GifBlocks(whole, ended=False)


def _colors(flags: int) -> int:
    """Bytes of the color table that flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip(file: BinaryIO, count: int) -> bool:
    return len(file.read(count)) == count


def _skip_blocks(file: BinaryIO) -> bool:
    """Skip blocks, each of which tells its length, up to the empty one; whether that is there."""
    while length := file.read(1):
        if not length[0]:
            return True
        if not _skip(file, length[0]):
            break
    return False
