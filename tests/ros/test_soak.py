"""Ten thousand random and broken messages: the node lives, its memory stays flat, and a good frame still counts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rtseg_ros.messages import to_image
from sensor_msgs.msg import Image

import rtseg
from rtseg.frame import Frame
from rtseg.media.encodings import ENCODINGS
from tests.ros.harness import Peer, header, mask_of
from tests.threshold_network import two_lane_road

pytestmark = [pytest.mark.ros, pytest.mark.slow]
SECOND = 1_000_000_000
LEAST = {"received": 10_000, "dropped_invalid": 2_500, "dropped_stamp": 100, "processed": 1_000}
BATCH = 250
PAUSE = 0.001
GROWTH = 8 * 2**20


def _random_message(rng: np.random.Generator, stamp: int) -> Image:
    if rng.random() < 0.05:
        stamp = int(rng.integers(-(2**31), 2**31)) * SECOND + int(rng.integers(SECOND))
    if rng.random() < 0.3:
        # A sound picture of a random size.
        size = tuple(int(n) for n in rng.integers(1, 200, 2))
        return to_image(cv2.resize(two_lane_road(), size), "bgr8", header(stamp))
    odd = ["", "32FC1", "bgr", "rgb8 ", "\x7f", "é" * 50, "bayer_" * 100]
    encoding = str(rng.choice([*ENCODINGS, *odd]))
    height, width = (int(rng.choice([0, 1, 2, 3, 7, 64, 65_535, 2**32 - 1, rng.integers(1, 100)])) for _ in range(2))
    message = Image(header=header(stamp), height=height, width=width, encoding=encoding)
    message.step = int(rng.choice([0, 1, width, min(3 * width, 2**32 - 1), 2**32 - 1, rng.integers(0, 1000)]))
    fitting = message.step * height
    length = int(rng.choice([0, 1, rng.integers(0, 5000), fitting if fitting < 100_000 else 0]))
    message.data = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    message.is_bigendian = int(rng.integers(0, 256))
    return message


@pytest.mark.timeout(680)
def test_ten_thousand_random_messages(start_node: Callable[..., Peer], model: Path) -> None:
    peer = start_node(silence_warning=100.0)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    rng = np.random.default_rng(20)
    memory: list[int] = []
    stamps = itertools.count(1_700_000_000 * SECOND, 10_000_000)

    def send_some() -> None:
        for _ in range(BATCH):
            peer.images.publish(_random_message(rng, next(stamps)))
            time.sleep(PAUSE)
        memory.append(peer.process.private_bytes())
        masks.clear()

    def enough() -> bool:
        counts = {name: int(peer.health[name]) for name in LEAST}
        return all(counts[name] > least for name, least in LEAST.items())

    # Frames that follow each other closely get lost, or stale, the more so on a busy machine: go on until the node has
    # seen enough of each kind.
    peer.insist(send_some, enough, every=0.05, what="too few messages seen", seconds=600.0)
    health = peer.wait_for_health(
        lambda h: int(h["received"]) == int(h["processed"]) + int(h["dropped"]), "frames unaccounted for"
    )
    assert health["dropped_failed"] == "0", health["last_fault"]
    # Buffers and pools have grown to their size by the first third.
    assert max(memory) - memory[len(memory) // 3] < GROWTH, memory
    assert "Traceback" not in peer.process.output()

    image = two_lane_road()
    got = peer.insist(
        lambda: peer.publish(image, next(stamps)),
        lambda: next((mask for mask in masks if (mask.height, mask.width) == image.shape[:2]), None),
        every=0.1,
        what="no mask of a sound frame",
    )
    np.testing.assert_array_equal(mask_of(got) > 0, rtseg.load(model)(Frame(image)).mask > 0)
