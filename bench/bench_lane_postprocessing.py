"""What a 1280x720 frame costs beside the network: ``pytest bench/bench_lane_postprocessing.py``.

Each stage stands beside what OpenCV and NumPy offer for it. Preprocess + decode + track should take under 4 ms on two
cores.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from rtseg.lanes import LaneDecoder, LaneTracker
from rtseg.ops import preprocess, resize_image, upsample_argmax

SIZE, INPUT, CELLS = (720, 1280), (256, 448), (64, 112)
MEAN, STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
ROUNDS = {"rounds": 100, "warmup_rounds": 3}


def frame() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1), np.uint8)


def logits() -> NDArray[np.float32]:
    """Four lines as a network of stride 4 on 448x256 gives them."""
    drawn = np.zeros(INPUT, np.uint8)
    for color, bottom in enumerate((-105, 115, 315, 525), start=1):
        cv2.line(drawn, (224, 107), (bottom, 255), color, 4)
    share = [cv2.resize((drawn == c).astype(np.float32), CELLS[::-1], interpolation=cv2.INTER_AREA) for c in range(7)]
    noise = np.random.default_rng(0).normal(0, 0.2, (7, *CELLS))
    maps = np.where(np.stack(share) > 0, 10 * (np.stack(share) - 0.25), -6) + noise
    maps[0] = 0
    return maps.astype(np.float32)


def opencv_preprocess(image: NDArray[np.uint8], interpolation: int) -> NDArray[np.float32]:
    small = cv2.resize(image, INPUT[::-1], interpolation=interpolation)[..., ::-1]
    normalized = (small.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))[None]


def test_preprocess(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "1 preprocess"
    benchmark.pedantic(preprocess, (frame(), INPUT, MEAN, STD), **ROUNDS)


def test_preprocess_by_opencv_area(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "1 preprocess"
    benchmark.pedantic(opencv_preprocess, (frame(), cv2.INTER_AREA), **ROUNDS)


def test_preprocess_by_opencv_linear_which_aliases(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "1 preprocess"
    benchmark.pedantic(opencv_preprocess, (frame(), cv2.INTER_LINEAR), **ROUNDS)


def test_resize(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "2 resize"
    benchmark.pedantic(resize_image, (frame(), INPUT), **ROUNDS)


def test_resize_by_opencv_area(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "2 resize"
    benchmark.pedantic(cv2.resize, (frame(), INPUT[::-1]), {"interpolation": cv2.INTER_AREA}, **ROUNDS)


def test_coloring(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "3 upsample and argmax"
    benchmark.pedantic(upsample_argmax, (logits(), SIZE), **ROUNDS)


def test_coloring_by_opencv_and_numpy(benchmark: BenchmarkFixture) -> None:
    def resize_then_running_maximum(maps: NDArray[np.float32]) -> NDArray[np.uint8]:  # np.argmax takes 20 times longer
        best = cv2.resize(maps[0], SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        winner = np.zeros(SIZE, np.uint8)
        for c, channel in enumerate(maps[1:], start=1):
            value = cv2.resize(channel, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
            cv2.copyTo(np.full(SIZE, c, np.uint8), cv2.compare(value, best, cv2.CMP_GT), winner)
            best = cv2.max(value, best)
        return winner

    benchmark.group = "3 upsample and argmax"
    found = benchmark.pedantic(resize_then_running_maximum, (logits(),), rounds=30, warmup_rounds=1)
    assert (found != upsample_argmax(logits(), SIZE)).mean() < 1e-3


def test_decode(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "4 lanes"
    found = benchmark.pedantic(LaneDecoder(), (logits(), SIZE), **ROUNDS)
    assert len(found.polylines) == 4


def test_track(benchmark: BenchmarkFixture) -> None:
    tracker, found = LaneTracker(), LaneDecoder()(logits(), SIZE)
    tracker.update(found, 0)
    benchmark.group = "4 lanes"
    lanes = benchmark.pedantic(tracker.update, (found, 1), **ROUNDS)
    assert lanes.ids.tolist() == [1, 2, 3, 4]


def test_preprocess_decode_and_track(benchmark: BenchmarkFixture) -> None:
    image, maps, decode, tracker = frame(), logits(), LaneDecoder(), LaneTracker()

    def whole() -> None:
        preprocess(image, INPUT, MEAN, STD)
        tracker.update(decode(maps, SIZE), 0)

    benchmark.group = "5 all but the network"
    benchmark.pedantic(whole, **ROUNDS)
