"""Choosing the pictures of a report while the run goes by, in little memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.data.selection import evenly
from rtseg.lab.report.report import Picture


@dataclass(frozen=True)
class _Candidate:
    badness: float
    index: int
    picture: Picture


class Gallery:
    """Keeps pictures from all over a run of any length, and its worst ones, not all from the same moment.

    Args:
        spread: pictures to show from all over the run.
        worst: of the worst.
        apart: frames that lie at least between two of the worst.
    """

    def __init__(self, spread: int = 9, worst: int = 6, apart: int = 20) -> None:
        self._wanted = spread
        self._stride = 1
        self._kept: list[tuple[int, Picture]] = []
        self._limit = worst
        self._apart = apart
        self._worst: list[_Candidate] = []

    def add(self, index: int, caption: str, image: NDArray[np.uint8], badness: float) -> None:
        """Offer one frame's picture; `index` counts up, `badness` is what the worst have most of."""
        picture: Picture | None = None
        if index % self._stride == 0:
            picture = Picture.of(caption, image)
            self._kept.append((index, picture))
            if len(self._kept) >= 3 * self._wanted:
                self._stride *= 2
                self._kept = [(i, p) for i, p in self._kept if i % self._stride == 0]
        near = next((c for c in self._worst if abs(c.index - index) < self._apart), None)
        if near is not None:
            if badness <= near.badness:
                return
            self._worst.remove(near)
        elif len(self._worst) >= self._limit and badness <= self._worst[-1].badness:
            return
        self._worst.append(_Candidate(badness, index, picture or Picture.of(caption, image)))
        self._worst.sort(key=lambda c: (-c.badness, c.index))
        del self._worst[self._limit :]

    @property
    def spread(self) -> list[Picture]:
        """Evenly from the whole run, in order."""
        return [picture for _, picture in evenly(self._kept, self._wanted)]

    @property
    def worst(self) -> list[Picture]:
        """The worst, worst first."""
        return [c.picture for c in self._worst]
