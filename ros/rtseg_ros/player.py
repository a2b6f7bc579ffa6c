"""Publishes a bag, a video or pictures as a camera would: raw images and camera_info, at a steady rate, stamped now."""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from queue import Full, Queue
from types import FrameType

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from rtseg.camera import Camera
from rtseg.errors import RtsegError
from rtseg.files import check_outputs, write_text
from rtseg.frame import Frame
from rtseg.media import open_frames
from rtseg_ros.messages import stamp_of, to_image

SENSOR_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
AHEAD_SECONDS = 2.0
FASTEST = 1000.0
"""Frames a second; of a recording that says it had more, as damaged ones do, as many are played."""
_MOST_AHEAD = 240  # frames
_READER_SECONDS = 2.0


class Stopped(Exception):
    """The process was asked to end."""


class ReadAhead:
    """Decodes and converts in a thread, up to `depth` frames ahead, so that a slow frame does not disturb the rate.

    Iterating gives (H, W, 3) uint8 BGR images, and raises what reading raised when its place in the order comes.
    """

    def __init__(self, frames: Iterable[Frame], depth: int) -> None:
        self._frames = frames
        self._queue: Queue[NDArray[np.uint8] | Exception | None] = Queue(maxsize=depth)
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._fill, name="read-ahead", daemon=True)
        self._reader.start()

    def fill_up(self) -> None:
        """Wait until as many frames are ready as may be."""
        while self._reader.is_alive() and not self._queue.full():
            time.sleep(0.01)

    def close(self) -> None:
        """Stop reading; a reader that hangs, as where a disk does, is not waited for."""
        self._closed.set()
        self._reader.join(_READER_SECONDS)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _fill(self) -> None:
        try:
            for frame in self._frames:
                if not self._put(frame.image):
                    return
            self._put(None)
        except Exception as error:
            self._put(error)

    def _put(self, item: NDArray[np.uint8] | Exception | None) -> bool:
        while not self._closed.is_set():
            with suppress(Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False


class Player:
    """Publishes frames; remembers when each left.

    Attributes:
        stamps: nanoseconds given to each frame published, in order.
        late: how many frames left more than half a period after their time.
    """

    def __init__(self, node: Node, topic: str, camera: Camera | None, frame_id: str) -> None:
        self.stamps: list[int] = []
        self.late = 0
        self._node = node
        self._frame_id = frame_id
        self._images: Publisher = node.create_publisher(Image, topic, SENSOR_QOS)
        self._infos: Publisher = node.create_publisher(CameraInfo, "camera_info", SENSOR_QOS)
        self._camera = camera

    def wait_for(self, subscribers: int, timeout: float) -> bool:
        """Wait until so many subscribers of the images are matched; False if they do not come in time."""
        end = time.monotonic() + timeout
        while self._images.get_subscription_count() < subscribers:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def play(self, images: Iterable[NDArray[np.uint8]], rate: float, seconds: float | None) -> None:
        """Publish BGR `images` at `rate` hertz for at most `seconds`."""
        start = time.perf_counter()
        for index, image in enumerate(images):
            due = index / rate
            if seconds is not None and due >= seconds:
                break
            message = to_image(image, "bgr8", Header(frame_id=self._frame_id))
            wait = start + due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            elif -wait > 0.5 / rate:
                self.late += 1
                # A camera does not catch up either: go on from here.
                start -= wait
            self._publish(message)

    def _publish(self, message: Image) -> None:
        now = time.time_ns()
        message.header.stamp = stamp_of(now)
        self._images.publish(message)
        self.stamps.append(now)
        if self._camera is not None:
            self._infos.publish(_camera_info(self._camera, message.header))


def _camera_info(camera: Camera, header: Header) -> CameraInfo:
    info = CameraInfo(header=header, width=camera.width, height=camera.height, distortion_model=camera.distortion_model)
    info.d = [float(value) for value in camera.distortion]
    info.k = [float(value) for value in camera.K.ravel()]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [float(value) for row in camera.K for value in (*row, 0.0)]
    return info


def _rate(text: str) -> float:
    return _number(text, 1e-3, FASTEST)


def _seconds(text: str) -> float:
    return _number(text, 0.0, 1e9)


def _number(text: str, least: float, most: float) -> float:
    with suppress(ValueError):
        if least <= (value := float(text)) <= most:
            return value
    raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}, got {text!r}")


def _count(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="player", description=__doc__)
    parser.add_argument("input", help="bag, video, picture or folder of pictures")
    parser.add_argument("--topic", help="image topic inside the bag, where it has several")
    parser.add_argument("--rate", type=_rate, help="frames a second; by default the recording's own, or 30")
    parser.add_argument("--seconds", type=_seconds, help="stop after so many seconds")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--hold", type=_count, help="decode only the first so many frames, and repeat them from memory")
    parser.add_argument("--camera", type=Path, help="camera YAML for camera_info; by default the recording's own")
    parser.add_argument("--frame-id", default="camera", help="frame_id of the images")
    parser.add_argument("--wait-for", type=int, default=1, help="subscribers to wait for before the first frame")
    parser.add_argument("--wait-seconds", type=_seconds, default=60.0, help="how long to wait for them")
    parser.add_argument("--log", type=Path, help="write the stamps given to the frames here, as JSON")
    return parser.parse_args(remove_ros_args(sys.argv)[1:])


def main() -> None:
    """Play once, wait for nothing more, and end."""
    arguments = _arguments()

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    code = 0
    node = Node("player")
    try:
        code = _run(node, arguments)
    except Stopped:
        pass
    except RtsegError as error:
        print(f"player: {error}", file=sys.stderr)
        code = 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(code)


def _run(node: Node, arguments: argparse.Namespace) -> int:
    with open_frames(arguments.input, arguments.topic) as source:
        camera = Camera.load(arguments.camera) if arguments.camera else source.camera
        rate = arguments.rate or min(source.fps or 30.0, FASTEST)
        if arguments.log:
            check_outputs(arguments.log.parent, [arguments.log.name], source.files)
        player = Player(node, "image", camera, arguments.frame_id)

        def frames() -> Iterator[Frame]:
            if arguments.hold:
                yield from itertools.cycle(list(itertools.islice(source, arguments.hold)))
            while True:
                yield from source
                if not arguments.loop:
                    return

        with closing(ReadAhead(frames(), depth=min(max(2, round(AHEAD_SECONDS * rate)), _MOST_AHEAD))) as ahead:
            ahead.fill_up()
            if not player.wait_for(arguments.wait_for, arguments.wait_seconds):
                print(f"player: nothing listens to image after {arguments.wait_seconds:.0f} s", file=sys.stderr)
                return 3
            player.play(ahead, rate, arguments.seconds)
    if arguments.log:
        write_text(arguments.log, json.dumps({"rate": rate, "late": player.late, "stamps": player.stamps}))
    return 0


if __name__ == "__main__":
    main()
