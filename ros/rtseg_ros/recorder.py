"""Collects the masks that a node publishes, with the time from each frame's stamp to its mask.

Ends on SIGINT or SIGTERM. In its folder grow ``masks.bin`` (zlib-compressed pixels, one mask after another) and
``masks.jsonl`` (a line a mask: topic, stamp, latency, place in the file); ``diagnostics.json`` is the node's last
status. The file ``ready`` appears when every topic of masks is published.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, TextIO

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from rtseg.errors import MediaError
from rtseg.files import write_text
from rtseg_ros.diagnostics import status_name
from rtseg_ros.messages import nanoseconds

MASKS, INDEX, DIAGNOSTICS, READY = "masks.bin", "masks.jsonl", "diagnostics.json", "ready"
RECORDER_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class MaskEntry:
    """One mask: its frame's stamp (ns), milliseconds from stamp to arrival, size in pixels, place in the file."""

    topic: str
    stamp: int
    latency_ms: float
    height: int
    width: int
    encoding: str
    offset: int
    size: int


class Recorder:
    """Subscribes to the masks and the diagnostics of one node.

    Args:
        node: to subscribe with.
        name: of the node whose diagnostics are kept.
        topics: of its masks.
        masks: where pixels go.
        index: where entries go.

    Attributes:
        diagnostics: the node's last status.
        fault: why no mask is written any more, None while they are.
    """

    def __init__(self, node: Node, name: str, topics: Sequence[str], masks: BinaryIO, index: TextIO) -> None:
        self.diagnostics: dict[str, str] = {}
        self.fault: OSError | None = None
        self._masks, self._index = masks, index
        self._name = status_name(name)
        # One thread: masks are written in the order they came, and packing them holds nobody up.
        self._packer = ThreadPoolExecutor(max_workers=1)
        self._node = node
        self._topics = topics
        for topic in topics:
            node.create_subscription(Image, topic, partial(self._take_mask, topic), RECORDER_QOS)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 10)

    def is_matched(self) -> bool:
        """Whether the node publishes its masks by now."""
        return all(self._node.count_publishers(topic) > 0 for topic in self._topics)

    def close(self) -> None:
        """Wait until everything is written."""
        self._packer.shutdown()

    def _take_mask(self, topic: str, message: Image) -> None:
        stamp = nanoseconds(message.header.stamp)
        latency = (time.time_ns() - stamp) / 1e6
        self._packer.submit(self._write, topic, message, stamp, latency)

    def _write(self, topic: str, message: Image, stamp: int, latency: float) -> None:
        if self.fault is not None:
            return
        packed = zlib.compress(message.data, 1)
        try:
            offset = self._masks.tell()
            self._masks.write(packed)
            self._masks.flush()  # what the index names is there
            entry = MaskEntry(
                topic, stamp, latency, message.height, message.width, message.encoding, offset, len(packed)
            )
            self._index.write(json.dumps(asdict(entry)) + "\n")
            self._index.flush()
        except OSError as fault:
            self.fault = fault

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._name:
                values = {entry.key: entry.value for entry in status.values}
                self.diagnostics = {"level": str(status.level[0]), "message": status.message, **values}


class Recording:
    """A recorder's folder, read back.

    Attributes:
        entries: one for each mask, in the order they came.
        diagnostics: the node's last status: level, message, and its values.
    """

    def __init__(self, folder: Path) -> None:
        self.entries = [MaskEntry(**json.loads(line)) for line in (folder / INDEX).read_text().splitlines()]
        self.diagnostics: dict[str, str] = json.loads((folder / DIAGNOSTICS).read_text())
        self._masks = (folder / MASKS).open("rb")

    def mask(self, entry: MaskEntry) -> NDArray[Any]:
        """The (H, W) pixels of one entry: uint8, or uint16 where the encoding is 16UC1."""
        self._masks.seek(entry.offset)
        content = zlib.decompress(self._masks.read(entry.size))
        dtype = np.uint16 if entry.encoding == "16UC1" else np.uint8
        return np.frombuffer(content, dtype=dtype).reshape(entry.height, entry.width)

    def close(self) -> None:
        """Close the file of masks."""
        self._masks.close()


def main() -> None:
    """Record until SIGINT or SIGTERM; with code 1, and without the status, where nothing can be written any more."""
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--node", default="/lanes", help="node whose diagnostics are kept; /lanes by default")
    parser.add_argument("--masks", nargs="+", default=["/lanes/lane_mask"], help="topics; /lanes/lane_mask by default")
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    stopped = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    node = Node("recorder")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    fault: Exception | None = None
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        with (arguments.folder / MASKS).open("wb") as masks, (arguments.folder / INDEX).open("w") as index:
            recorder = Recorder(node, arguments.node, arguments.masks, masks, index)
            matched = False
            while not stopped and recorder.fault is None:
                executor.spin_once(timeout_sec=0.2)
                if not matched and recorder.is_matched():
                    matched = True
                    (arguments.folder / READY).touch()
            recorder.close()
            if recorder.fault is not None:
                raise recorder.fault
        write_text(arguments.folder / DIAGNOSTICS, json.dumps(recorder.diagnostics))
    except (OSError, MediaError) as error:
        fault = error
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    if fault is not None:
        reason = (fault.strerror if isinstance(fault, OSError) else "") or fault
        sys.exit(f"recorder: expected to record to {arguments.folder}, got {reason}; check the space on the disk")


if __name__ == "__main__":
    main()
