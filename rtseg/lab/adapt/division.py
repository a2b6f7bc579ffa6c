"""What of one's recordings is learned from, and what is kept back to judge by: never neighbors in time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rtseg.errors import DatasetError
from rtseg.lab.fleet.shards import Part
from rtseg.media import FrameSource, open_frames

HELD_BACK = 0.25
"""The last share of a recording, which is kept back."""
GAP = 0.05
LEAST_GAP = 2.0  # seconds before it, which are neither learned from nor judged by
LEAST = 12.0  # seconds; shorter recordings are not divided but learned from
LEAST_HELD_BACK = 10.0  # seconds in all: less says nothing


@dataclass(frozen=True)
class Recording:
    """A recording and its two parts.

    Attributes:
        path: of it.
        learned: the part that is learned from.
        held_back: the part that is judged by; None of a recording too short to divide.
        seconds: of the two parts.
    """

    path: Path
    learned: Part
    held_back: Part | None
    seconds: tuple[float, float]


def divide(paths: Sequence[Path], topic: str | None = None) -> list[Recording]:
    """Divide every recording: its last quarter is kept back, after a gap.

    Raises:
        MediaError: one cannot be opened.
        DatasetError: one does not know how long it is, one is named twice, or there is too little to keep back.
    """
    places = [os.path.realpath(path) for path in paths]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise DatasetError(f"expected each recording once, got {paths[number]} twice; leave one out")
    divided = []
    for path in paths:
        with ExitStack() as opened:
            divided.append(_divide(path, opened.enter_context(open_frames(path, topic))))
    held_back = sum(recording.seconds[1] for recording in divided)
    if held_back < LEAST_HELD_BACK:
        raise DatasetError(
            f"expected {LEAST_HELD_BACK / HELD_BACK:.0f} seconds of driving or more, so that a quarter can be kept "
            f"back to judge by, got {sum(sum(recording.seconds) for recording in divided):.0f} s; record some minutes"
        )
    return divided


def _divide(path: Path, source: FrameSource) -> Recording:
    if source.extent is None or not source.per_second:
        raise DatasetError(f"expected a bag or a video that says how long it is, got {path}; record a bag or a video")
    begin, end = source.extent
    seconds = (end - begin) / source.per_second
    if seconds < LEAST:
        return Recording(path, Part(), None, (seconds, 0.0))
    held_back, gap = HELD_BACK * seconds, max(LEAST_GAP, GAP * seconds)
    start = end - round(held_back * source.per_second)
    stop = start - round(gap * source.per_second)
    first = min(0, begin)  # what lies before the stated extent belongs to it too
    return Recording(
        path,
        Part(0, 2, first, first, stop),
        Part(1, 2, start, start, None),
        (seconds - held_back - gap, held_back),
    )
