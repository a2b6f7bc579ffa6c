"""Whether packets of an H.264 or H.265 stream follow each other: decoders do not tell when one between them is missing.

Without a picture that others refer to, FFmpeg shows what came before it in its place, and calls it sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

_LOOKED_AT = 96  # bytes of a unit, which hold all that is read of it
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class Continuity:
    """Watches a stream packet by packet.

    Args:
        codec: ``h264`` or ``hevc``; of others nothing is told.
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._whole = codec not in ("h264", "hevc")
        self._sequence: _Sequence | None = None
        self._last = 0  # frame_num of the last picture that others may refer to

    def take(self, packet: bytes) -> str:
        """Give the reason why a packet's picture cannot be made whole; empty where it can.

        Args:
            packet: of one picture, its units behind start codes.
        """
        if self._codec not in ("h264", "hevc"):
            return ""
        units = list(_units(packet))
        if not units:  # of another format, which the decoder may know
            return ""
        if any(_begins(self._codec, unit) for unit in units):
            self._whole = True
            self._follow(units, begins=True)
            return ""
        if not self._whole:
            return "its stream begins at the next key frame"
        if self._follow(units, begins=False):
            return ""
        self._whole = False
        return "a packet before it was lost; its stream begins again at the next key frame"

    def lose(self) -> None:
        """Say that a packet was lost, or not decoded: what follows cannot be made whole until the next key frame."""
        self._whole = self._codec not in ("h264", "hevc")

    def _follow(self, units: list[bytes], begins: bool) -> bool:
        if self._codec != "h264":
            return True
        for unit in units:
            kind = unit[0] & 31
            if kind == 7:
                self._sequence = _read_sequence(unit)
            if kind in (1, 5) and self._sequence is not None:
                number = self._sequence.frame_number(unit)
                if number is None:
                    continue
                steps = (number - self._last) % self._sequence.frame_numbers
                if not begins and steps > 1 and not self._sequence.gaps_allowed:
                    return False
                if unit[0] & 0x60:  # others may refer to it
                    self._last = number
        return True


class _Sequence:
    """What of an H.264 sequence's parameters its slices are read with."""

    def __init__(self, bits: int, planes: bool, gaps_allowed: bool) -> None:
        self.frame_numbers = 1 << bits
        self.gaps_allowed = gaps_allowed
        self._bits, self._planes = bits, planes

    def frame_number(self, unit: bytes) -> int | None:
        """The frame_num of a slice; None where it is cut short."""
        try:
            bits = _Bits(unit)
            bits.exponential()
            bits.exponential()
            bits.exponential()
            if self._planes:
                bits.take(2)
            return bits.take(self._bits)
        except IndexError:
            return None


def _units(packet: bytes) -> Iterator[bytes]:
    """The beginnings of the units behind start codes; none where the packet does not begin with one."""
    starts, at = [], packet.find(b"\0\0\1", 0, 4)
    while at >= 0:
        starts.append(at + 3)
        at = packet.find(b"\0\0\1", at + 3)
    for start, end in pairwise([*starts, len(packet) + 3]):
        unit = packet[start : min(end - 3, start + _LOOKED_AT)]
        if unit:
            yield unit


def _begins(codec: str, unit: bytes) -> bool:
    """Whether a decoder can begin at a picture of which this is a unit."""
    if codec == "hevc":
        return 16 <= (unit[0] >> 1) & 63 <= 21
    kind = unit[0] & 31
    return kind == 5 or (kind == 6 and _recovers(unit))


def _recovers(unit: bytes) -> bool:
    """Whether an H.264 unit of supplemental information holds a recovery point (streams without key frames do)."""
    at = 1
    while at + 1 < len(unit):
        numbers = []
        for _ in range(2):
            number = 0
            while at < len(unit) and unit[at] == 255:
                number, at = number + 255, at + 1
            if at >= len(unit):
                return False
            number, at = number + unit[at], at + 1
            numbers.append(number)
        if numbers[0] == 6:
            return True
        at += numbers[1]
    return False


def _read_sequence(unit: bytes) -> _Sequence | None:
    """Read an H.264 sequence parameter set as far as is needed (ITU-T H.264, 7.3.2.1.1); None where it is cut short."""
    try:
        bits = _Bits(unit)
        profile = bits.take(8)
        bits.take(16)
        bits.exponential()
        planes = False
        if profile in _HIGH_PROFILES:
            chroma = bits.exponential()
            planes = chroma == 3 and bool(bits.take(1))
            bits.exponential()
            bits.exponential()
            bits.take(1)
            if bits.take(1):
                for i in range(12 if chroma == 3 else 8):
                    if bits.take(1):
                        _skip_scaling(bits, 16 if i < 6 else 64)
        count = bits.exponential() + 4
        order = bits.exponential()
        if order == 0:
            bits.exponential()
        elif order == 1:
            bits.take(1)
            bits.exponential()
            bits.exponential()
            for _ in range(bits.exponential()):
                bits.exponential()
        bits.exponential()
        return _Sequence(count, planes, bool(bits.take(1))) if count <= 16 else None
    except IndexError:
        return None


def _skip_scaling(bits: _Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


class _Bits:
    """Reads a unit behind its first byte, without the bytes that keep start codes out; IndexError at its end."""

    def __init__(self, unit: bytes) -> None:
        self._data, self._at = unit[1:].replace(b"\0\0\3", b"\0\0"), 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | (self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1)
            self._at += 1
        return value

    def exponential(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        value = self.exponential()
        return (value + 1) // 2 if value % 2 else -(value // 2)
