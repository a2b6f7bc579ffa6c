"""A pipeline and recordings whose right results are known: lanes are columns of one color."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from rtseg.errors import ImageError
from rtseg.frame import Frame
from rtseg.media import FrameSource
from rtseg.results import Lanes
from rtseg.runtime.scenes import SceneCheck
from tests.lab.pipelines import WithoutModel

HEIGHT, WIDTH = 72, 128
MILLISECOND = 1_000_000


def road(columns: dict[int, int]) -> np.ndarray:
    """A picture with a lane of each id at its column."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for identity, x in columns.items():
        image[HEIGHT // 2 :, x - 2 : x + 3] = identity * 20
    return image


class ColumnPipeline(WithoutModel):
    """Finds the columns of :func:`road`; `busy` milliseconds a frame are really spent."""

    def __init__(self, busy: float = 0.0) -> None:
        super().__init__()
        self.busy = busy
        self.resets = 0
        self._scenes = SceneCheck()
        self.stamps: list[int] = []

    def reset(self) -> None:
        self.resets += 1
        self._scenes.reset()

    def __call__(self, frame: Frame) -> Lanes:
        begin = time.perf_counter()
        self.stamps.append(frame.stamp)
        if frame.image.shape[0] < 10:
            raise ImageError(f"expected at least 10 rows, got {frame.image.shape[0]}; send a larger picture")
        mask = frame.image[..., 0] // 20
        ids = np.unique(mask[mask > 0])
        y = np.arange(HEIGHT // 2, HEIGHT, dtype=np.float32)
        lines = tuple(
            np.stack([np.full_like(y, np.flatnonzero((mask == i).any(axis=0)).mean()), y], axis=1) for i in ids
        )
        while 1e3 * (time.perf_counter() - begin) < self.busy:
            pass
        spent = 1e3 * (time.perf_counter() - begin)
        confidence = np.linspace(0.9, 0.7, len(ids)).astype(np.float32)
        restart = self._scenes.check(frame)
        times = {"infer": spent}
        return Lanes(mask, ids.astype(np.int32), confidence, lines, frame.stamp, frame.frame_id, times, restart)


class ListSource(FrameSource):
    """Frames from memory."""

    def __init__(self, frames: list[Frame], fps: float | None = 30.0) -> None:
        super().__init__("list", len(frames), fps)
        self.frames = frames

    def _frames(self) -> Iterator[Frame]:
        yield from self.frames


def drive(columns: list[dict[int, int]], period: int = 33 * MILLISECOND) -> ListSource:
    return ListSource([Frame(road(c), i * period, "cam") for i, c in enumerate(columns)])
