"""Small fleets: videos of two colored lines that come, go and wander, and a network that finds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from tests.instance_networks import paint
from tests.media.recordings import RAW, START, Messages, write_bag
from tests.threshold_network import write_threshold_model

HEIGHT, WIDTH, FPS = 72, 128, 10


def road(index: int, seed: int = 0) -> np.ndarray:
    """A frame of a drive; now and then a line is gone for a moment, or for long."""
    image = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    shift = round(8 * np.sin(0.13 * index + seed))
    lines = {(0, 0, 255): 34, (0, 255, 0): 90, (255, 0, 0): 62}
    for number, (color, x) in enumerate(lines.items()):
        gone = (index + 7 * number + seed) % 23 < 4 or (index + 31 * number + seed) % 97 < 12 * number
        if not gone:
            for y in range(HEIGHT // 4, HEIGHT):
                middle = x + shift + (y - HEIGHT // 4) * (number - 1) // 3
                image[y, max(0, middle - 4) : middle + 4] = color
    return image


def street(index: int, seed: int = 0) -> np.ndarray:
    """A frame with two people and a car that walk through each other; now and then one is gone."""
    x = [8 + (2 * index + seed) % 90, 100 - (index + seed) % 80, 30 + index % 60]
    boxes = [(0, 0, (x[0], 8, x[0] + 16, 40)), (0, 1, (x[1], 20, x[1] + 12, 52)), (1, 2, (x[2], 36, x[2] + 28, 60))]
    shown = [box for number, box in enumerate(boxes) if (index + 9 * number + seed) % 31 > 3]
    return paint(shown)[0]


def write_drive_bag(folder: Path, frames: int, draw: Callable[[int, int], np.ndarray] = road) -> Path:
    """The drive of :func:`write_drive` as a ROS 2 bag of raw pictures."""
    messages = Messages(ros1=False)
    entries = []
    for index in range(frames):
        stamp = START + index * 10**9 // FPS
        image = draw(index, 0)
        fields = {"height": len(image), "width": WIDTH, "step": 3 * WIDTH, "data": image.reshape(-1)}
        entries.append((RAW, stamp, messages.image(index, stamp, **fields)))
    return write_bag(folder, "mcap", entries, messages)


def write_drive(path: Path, frames: int = 60, seed: int = 0, draw: Callable[[int, int], np.ndarray] = road) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": "10", "crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = draw(0, seed).shape[:2]
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(index, seed), format="bgr24")))
        container.mux(stream.encode(None))
    return path


def write_fleet(folder: Path, recordings: int = 3, frames: int = 60) -> tuple[list[str], str]:
    """Drives and a model; returns the sources and the model's folder."""
    sources = [str(write_drive(folder / f"drive_{seed}.mp4", frames + seed, seed)) for seed in range(recordings)]
    return sources, str(write_threshold_model(folder / "model"))
