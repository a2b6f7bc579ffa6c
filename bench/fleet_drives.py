"""Recordings for the fleet's benches: those that are named, or rendered ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.fleet.sources import Recording, find_recordings
from rtseg.lab.render import render_road

FPS = 30


def recordings(
    sources: Sequence[str], folder: Path, count: int = 4, seconds: float = 8.0, fps: int = FPS
) -> list[Recording]:
    """The recordings of `sources`; without any, drives that are rendered into `folder`."""
    if not sources:
        for seed in range(count):
            write_video(folder / f"drive_{seed}.mp4", rolling_road(seed, round(seconds * fps)), fps=fps)
        sources = [str(folder)]
    return list(find_recordings(sources).recordings)


def rolling_road(seed: int, frames: int, size: tuple[int, int] = (720, 1280)) -> Iterator[NDArray[np.uint8]]:
    """One rendered road, seen by a camera that sways."""
    height, width = size
    road = render_road(seed, (height, width + 128)).image
    for index in range(frames):
        left = 64 + round(60 * np.sin(index / 15 + seed))
        yield np.ascontiguousarray(road[:, left : left + width])


def write_video(
    path: Path, frames: Iterator[NDArray[np.uint8]], size: tuple[int, int] = (720, 1280), fps: int = FPS
) -> None:
    """Write frames of `size` (height, width) as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": str(fps)})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))
