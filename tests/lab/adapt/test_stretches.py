"""What is taken of a recording: all of it where there is time, else stretches from all over it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from rtseg.frame import Frame
from rtseg.lab.adapt.stretches import SECONDS, Stretches
from rtseg.lab.fleet.shards import Part
from rtseg.media import FrameSource

FPS = 10
LENGTH = round(SECONDS * FPS)
PART = Part(0, 2, 100, 100, 1100)


class Numbers(FrameSource):
    """Frames that say by their stamp which they are, read from any on."""

    def _frames(self) -> Iterator[Frame]:
        raise AssertionError("it is read from its beginning")

    def _part(self, start: int, stop: int | None) -> Iterator[Frame]:
        assert stop is not None
        return (Frame(np.zeros((4, 4, 3), np.uint8), number) for number in range(start, stop))


def taken(seconds: float, most: int, work: float = 0.0) -> tuple[list[int], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    numbers = []
    source = Numbers("numbers", 2000, FPS)
    for frame in Stretches(source, PART, seconds, most, lambda done, of: told.append((done, of))):
        numbers.append(frame.stamp or 0)
        time.sleep(work)
    return numbers, told


def test_all_of_it_is_taken_where_there_is_time() -> None:
    numbers, told = taken(1000.0, 1000)
    assert numbers == list(range(100, 1100))
    assert told[-1] == (100, 100)


def test_no_more_stretches_than_asked_for_from_all_over_it() -> None:
    numbers, _ = taken(1000.0, 5)
    assert [number for number in numbers if (number - 100) % 200 == 0] == [100, 300, 500, 700, 900]
    assert len(numbers) == 5 * LENGTH


def test_it_ends_in_time_with_whole_stretches_from_the_beginning_on_and_far_beyond() -> None:
    numbers, told = taken(0.3, 1000, 0.001)
    assert numbers[:LENGTH] == list(range(100, 100 + LENGTH))
    assert len(numbers) < 900
    assert told[-1] == (100, 100)
    numbers, _ = taken(1e-6, 1000)
    assert numbers == list(range(100, 100 + LENGTH))
