"""Short stretches of a recording, evenly from all of it, so far apart that what is done with them ends in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rtseg.frame import Frame
from rtseg.lab.fleet.shards import Part
from rtseg.media import FrameSource

SECONDS = 3.0
"""Of a stretch: long enough to follow lines in."""


class Stretches(FrameSource):
    """A part of a recording in stretches: all of it where there is time, else fewer the slower whoever takes them is.

    Args:
        source: the recording, which knows its extent and how many positions a second has.
        part: of it.
        seconds: that taking all frames may take.
        most: stretches at most.
        advance: is told after each stretch how much of how much has been passed, in seconds of the recording.
    """

    def __init__(
        self, source: FrameSource, part: Part, seconds: float, most: int, advance: Callable[[int, int], None]
    ) -> None:
        super().__init__(source.name, None, source.fps, source.camera)
        self._source, self._part_of_it = source, part
        self._seconds, self._most, self._advance = seconds, most, advance

    def _frames(self) -> Iterator[Frame]:
        assert self._source.extent is not None
        assert self._source.per_second
        per_second, (first, end_of_all) = self._source.per_second, self._source.extent
        start = max(self._part_of_it.start, first)
        stop = end_of_all if self._part_of_it.stop is None else self._part_of_it.stop
        length, whole = max(1, round(SECONDS * per_second)), stop - start
        begun, at = time.monotonic(), start
        while at < stop:
            end = min(at + length, stop)
            yield from self._source.between(at, end)
            self.skipped.update(self._source.skipped)
            spent = (time.monotonic() - begun) / self._seconds
            at = max(end, at + whole // self._most, start + round(spent * whole))
            self._advance(round((min(at, stop) - start) / per_second), round(whole / per_second))
