"""A bag through the pipeline: ``python examples/bag_replay.py [BAG]``; without one, a bag of a rendered drive.

Writes a result bag, an overlay video and a report, as ``rtseg replay BAG`` does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

import rtseg
from rtseg.lab.render import Drive
from rtseg.lab.replay.replay import ReplayResult, replay
from rtseg.media import open_frames

PERIOD = 100_000_000  # ns between frames


def write_bag(path: Path, seconds: float = 1.5) -> Path:
    """Record a rendered drive as the compressed images of a camera, in a ROS 2 bag (MCAP)."""
    store = get_typestore(Stores.ROS2_JAZZY)
    image, header, time = (
        store.types[name]
        for name in ("sensor_msgs/msg/CompressedImage", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topic = bag.add_connection("/camera/image_raw/compressed", image.__msgtype__, typestore=store)
        for i, road in enumerate(Drive(seed=3, seconds=seconds, fps=1e9 / PERIOD, size=(360, 640))):
            stamp = 10**18 + i * PERIOD
            jpeg = cv2.imencode(".jpg", road.image)[1]
            taken = header(stamp=time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="camera")
            message = image(header=taken, format="jpeg", data=np.asarray(jpeg, np.uint8).ravel())
            bag.write(topic, stamp, store.serialize_cdr(message, image.__msgtype__))
    return path


def main(bags: list[str], out: Path = Path("out/bag")) -> ReplayResult:
    """Take the bag that is named, or write one."""
    bag = Path(bags[0]) if bags else write_bag(out / "drive")
    with open_frames(bag) as frames:
        result = replay(frames, rtseg.load("lanes-lite"), out / "replayed", progress=False)
    print(f"{result.frames} frames, {result.fps:.0f} a second; {result.bag}, {result.video}, {result.report}")
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
