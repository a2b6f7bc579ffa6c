"""Parts of recordings that are worked on by themselves, and give what the whole would have given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rtseg.frame import Frame
from rtseg.media.frame_source import FrameSource


@dataclass(frozen=True)
class Part:
    """Which frames of a recording a shard has, in the positions of :meth:`FrameSource.between`.

    Attributes:
        index: of the shard, from 0.
        count: of shards of the recording.
        lead: where the frames begin that only lead in, so that tracks are as they would be after all frames before.
        start: where its own frames begin.
        stop: past its last frame; None is the end.
    """

    index: int = 0
    count: int = 1
    lead: int = 0
    start: int = 0
    stop: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the recording."""
        return self.count == 1


def cut(source: FrameSource, seconds: float, lead_in: float) -> tuple[Part, ...]:
    """Cut a recording into parts of equal length, at most a little longer than `seconds`.

    Args:
        source: is not read but for what it knows of itself; one that does not know its extent stays whole.
        seconds: of a part; infinite for the whole.
        lead_in: seconds before a part that are worked on again.
    """
    if source.extent is None or not source.per_second:
        return (Part(),)
    begin, end = source.extent
    count = max(1, round((end - begin) / source.per_second / seconds))
    edges = [begin + (end - begin) * i // count for i in range(count)]
    lead = round(lead_in * source.per_second)
    stops = [*edges[1:], None]
    # What lies before the stated extent belongs to the first, what lies past it to the last.
    starts = [min(0, begin), *edges[1:]]
    return tuple(
        Part(i, count, max(starts[0], start - lead), start, stop)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    )


class PartSource(FrameSource):
    """The frames of one part of a recording after those that lead in to it.

    Attributes:
        leading: whether the latest frame only leads in.
    """

    def __init__(self, source: FrameSource, part: Part) -> None:
        super().__init__(source.name, None, source.fps, source.camera)
        self.leading = False
        self._source = source
        self._shard = part
        self.skipped = source.skipped
        self._told: Counter[str] = Counter()

    def new_faults(self) -> Counter[str]:
        """Frames of the part that were left out since the last call, by reason."""
        new = self.skipped - self._told if not self.leading else Counter()
        self._told = self.skipped.copy()
        return new

    def _frames(self) -> Iterator[Frame]:
        if self._shard.whole:
            yield from self._source
            return
        if self._shard.lead < self._shard.start:
            self.leading = True
            yield from self._source.between(self._shard.lead, self._shard.start)
            self.leading = False
            self.skipped.clear()
            self._told.clear()
        yield from self._source.between(self._shard.start, self._shard.stop)
