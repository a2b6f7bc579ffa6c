"""A node for hours under a camera that is not always sound: memory, descriptors and threads over time.

    python bench/node_soak.py --seconds 3600 --out bench/results/node_soak.json

Frames come at camera rate, 5 % of them broken (data cut, sizes that lie, unknown encodings, wrong stamps, JPEGs with a
hole), raw and compressed in turns of a minute; the node is taken down and up again as often as asked. Growth is the
slope of a line through the resident memory after the first third.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rtseg_ros.demo.live import Process
from rtseg_ros.messages import nanoseconds, stamp_of, to_image, to_jpeg
from rtseg_ros.transport import private_environment
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from told import anonymous_mib, machine, tell

SHARE = 0.05
TURN = 60.0
CYCLE = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)


def _pictures(height: int, width: int, count: int = 8) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    pictures = []
    for number in range(count):
        picture = np.roll(noise, number, axis=1)
        for x in (width // 4, width // 2, 3 * width // 4):
            cv2.line(picture, (x, height), (width // 2 + (x - width // 2) // 6, height // 2), (255, 255, 255), 8)
        pictures.append(picture)
    return pictures


class Camera:
    """Sends frames, some of them broken, and keeps what came back.

    Args:
        rate: frames a second.
        size: of the pictures, (height, width).
    """

    def __init__(self, rate: float, size: tuple[int, int]) -> None:
        self.node = Node("camera")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self._publisher: Any = None
        self._rate = rate
        self._rng = np.random.default_rng(2)
        self._pictures = _pictures(*size)
        header = Header()
        self._jpegs = [to_jpeg(picture, 90, header) for picture in self._pictures]
        self._raw = [to_image(picture, "bgr8", header) for picture in self._pictures]
        self.sent: Counter[str] = Counter()
        self.masks = 0
        self.stale = 0
        self.levels: Counter[int] = Counter()
        self.values: dict[str, str] = {}
        self._broken: set[int] = set()
        self.answered_broken = 0
        self.node.create_subscription(Image, "lanes/lane_mask", self._take_mask, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._take_health, 10)
        self._states = self.node.create_client(ChangeState, "lanes/change_state")

    def turn_to(self, compressed: bool) -> None:
        """Publish the one topic, and no longer the other."""
        if self._publisher is not None:
            self.node.destroy_publisher(self._publisher)
        kind, topic = (CompressedImage, "image/compressed") if compressed else (Image, "image")
        self._publisher = self.node.create_publisher(kind, topic, 1)

    def run(self, seconds: float) -> None:
        """Send frames at camera rate."""
        end = time.monotonic() + seconds
        following = time.monotonic()
        while following < end:
            self._send()
            following += 1 / self._rate
            while (left := following - time.monotonic()) > 0:
                self.executor.spin_once(timeout_sec=left)

    def reconfigure(self) -> None:
        """Take the node down and up again."""
        for transition in CYCLE:
            request = ChangeState.Request(transition=Transition(id=transition))
            answer = self._states.call_async(request)
            self.executor.spin_until_future_complete(answer, timeout_sec=120.0)
            result = answer.result()
            if result is None or not result.success:
                raise SystemExit(f"transition {transition} was not made")

    def _send(self) -> None:
        number = int(self._rng.integers(len(self._pictures)))
        stamp = time.time_ns()
        kept = (self._raw if self._publisher.msg_type is Image else self._jpegs)[number]
        message = kept
        broken = self._rng.random() < SHARE
        if broken:
            kind = int(self._rng.integers(5))
            self._broken.add(stamp)
            message = type(kept)()
            for name in kept.get_fields_and_field_types():
                setattr(message, name, getattr(kept, name))
            if kind == 0:
                stamp = int(self._rng.choice([0, stamp - 30 * 10**9, stamp + 10**17]))
            elif kind == 1 or isinstance(kept, CompressedImage):
                message.data = kept.data[: int(self._rng.integers(len(kept.data)))]
            elif kind == 2:
                message.height = message.width = 2**31
            elif kind == 3:
                message.encoding = "32FC3"
            else:
                message.step = 1
            self._broken.add(stamp)
        message.header = Header(stamp=stamp_of(stamp), frame_id="camera")
        self.sent["broken" if broken else "sound"] += 1
        self._publisher.publish(message)

    def _take_mask(self, message: Image) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.masks += 1
        self.stale += time.time_ns() - stamp > 2 * 10**9
        self.answered_broken += stamp in self._broken

    def _take_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.levels[status.level[0]] += 1
            self.values = {"message": status.message, **{entry.key: entry.value for entry in status.values}}


def _usage(pid: int) -> tuple[float, int, int]:
    """MiB of its own, open descriptors and threads of a process."""
    return (
        anonymous_mib(pid),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        len(list(Path(f"/proc/{pid}/task").iterdir())),
    )


def soak(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run one node for so long."""
    environment = private_environment(os.environ)
    os.environ.update(environment)
    rclpy.init(args=[])
    node = Process("node", ["rtseg_ros.lanes", "--ros-args", "-p", f"model:={arguments.model}"], environment, folder)
    samples: list[tuple[float, float, int, int]] = []
    try:
        camera = Camera(arguments.rate, (arguments.height, arguments.width))
        while not camera.masks:
            node.ended()
            camera.turn_to(False)
            camera.run(2.0)
        start, turn, done = time.monotonic(), 0, 0
        while (gone := time.monotonic() - start) < arguments.seconds:
            if gone >= (turn + 1) * arguments.turn:
                turn += 1
                camera.turn_to(turn % 2 == 1)
            if (
                done < arguments.reconfigurations
                and gone > (done + 0.5) * arguments.seconds / arguments.reconfigurations
            ):
                camera.reconfigure()
                done += 1
            camera.run(min(5.0, arguments.turn))
            node.ended()
            samples.append((time.monotonic() - start, *_usage(node.pid)))
        camera.run(3.0)
        node.stop()
    finally:
        node.end()
        rclpy.shutdown()
    settled = np.array(samples[len(samples) // 3 :])
    slope = np.polyfit(settled[:, 0], settled[:, 1], 1)[0] * 3600
    every = max(1, len(samples) // 60)
    return {
        "sent": dict(camera.sent),
        "masks": camera.masks,
        "masks_of_broken_frames": camera.answered_broken,
        "masks_older_than_2_s": camera.stale,
        "reconfigurations": done,
        "turns_of_transport": turn,
        "growth_mib_per_hour": round(float(slope), 2),
        "anonymous_mib": [round(sample[1], 1) for sample in samples[::every]],
        "descriptors": [int(settled[:, 2].min()), int(settled[:, 2].max())],
        "threads": [int(settled[:, 3].min()), int(settled[:, 3].max())],
        "levels_told": dict(sorted(camera.levels.items())),
        "last_status": camera.values,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--turn", type=float, default=TURN, help="seconds between raw and compressed")
    parser.add_argument("--reconfigurations", type=int, default=20)
    parser.add_argument("--model", default="lanes-lite")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = soak(arguments, Path(folder))
    settings = {name: value for name, value in vars(arguments).items() if name != "out"}
    tell({**settings, **machine(), **result}, arguments.out)


if __name__ == "__main__":
    main()
