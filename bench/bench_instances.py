"""Head maps to tracked instances, by stage, for each grouping method: a 1280x640 frame with 20 objects.

`python -m bench.bench_instances` prints the table; under pytest-benchmark each method is one benchmark, beside OpenCV's
nearest-neighbor enlargement of the labels as the floor of what describing them costs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rtseg.frame import Frame
from rtseg.instances import upsample_labels
from rtseg.loading import load
from rtseg.runtime import LatencyLog, Pipeline
from tests.instance_networks import FAMILIES, paint, write_instance_model

NETWORK = (320, 640)
IMAGE = (640, 1280)
OBJECTS = 20
STEP = 33_333_333


def scene(step: int) -> np.ndarray:
    """(640, 1280, 3) uint8 BGR: 20 objects of 40 to 200 pixels, each moving."""
    rng = np.random.default_rng(4)
    objects: list[tuple[int, int, tuple[int, int, int, int]]] = []
    for number in range(OBJECTS):
        column, row = number % 5, number // 5
        width, height = (int(side) for side in rng.integers(40, 200, 2) // 8 * 8)
        x = 40 + 248 * column + int(rng.integers(-4, 5)) * step
        y = 8 + 152 * row + int(rng.integers(-1, 2)) * step
        objects.append((number % 2, number % 3, (x, y, x + width, y + min(height, 140))))
    return paint(objects, IMAGE)[0]


def prepare(folder: Path, method: str) -> Pipeline:
    """A pipeline of the method, warmed up and with two threads."""
    model = write_instance_model(folder / method, method, width=NETWORK[1], height=NETWORK[0])
    pipeline = load(model, backend="onnxruntime", threads=2)
    pipeline.warm_up(*IMAGE)
    return pipeline


@pytest.mark.parametrize("method", FAMILIES)
def test_maps_to_instances(benchmark: Any, tmp_path: Path, method: str) -> None:
    pipeline = prepare(tmp_path, method)
    frames = [scene(step) for step in range(8)]
    count = [0]

    def following() -> tuple[tuple[Any, ...], dict[str, Any]]:
        count[0] += 1
        frame = Frame(frames[count[0] % 8], count[0] * STEP)
        pipeline(frame)
        return (frame,), {}

    found = benchmark.pedantic(pipeline, setup=following, rounds=50)
    assert len(found) >= OBJECTS - 1


@pytest.mark.parametrize("how", ["upsample_labels", "cv2 nearest"])
def test_enlarging(benchmark: Any, how: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((80, 160), np.int32)
    for number in range(OBJECTS):
        y, x = int(rng.integers(0, 60)), int(rng.integers(0, 140))
        labels[y : y + 18, x : x + 18] = number + 1
    guide = np.stack([np.zeros(labels.shape), np.where(labels > 0, 1.0, -1.0)]).astype(np.float32)
    if how == "cv2 nearest":
        benchmark(lambda: cv2.resize(labels, IMAGE[::-1], interpolation=cv2.INTER_NEAREST))
    else:
        benchmark(upsample_labels, labels, guide, IMAGE)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        for method in FAMILIES:
            pipeline = prepare(Path(name), method)
            log = LatencyLog()
            frames = [scene(step) for step in range(8)]
            for step in range(200):
                found = pipeline(Frame(frames[step % 8], (step + 1) * STEP))
                log.record(found.times)
            least = {stage: log.values(stage).min() for stage in found.times}
            half = {stage: np.median(log.values(stage)) for stage in found.times}
            print(method, len(found), "instances")
            print("  min   ", {stage: round(float(value), 2) for stage, value in least.items()})
            print("  median", {stage: round(float(value), 2) for stage, value in half.items()})


if __name__ == "__main__":
    main()
