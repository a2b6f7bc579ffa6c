"""Troubles of camera, clock and calibration, made for a node that runs: each is told, and nothing is stale."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from rtseg_ros import lifecycle
from rtseg_ros.lanes import LanesNode
from rtseg_ros.messages import nanoseconds, stamp_of, to_image
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from rtseg.camera import Mount, camera_of
from rtseg.frame import Frame
from rtseg.lanes import GroundPlane
from rtseg.messages import POINT_TYPE
from tests.ros.harness import LOST, PATIENCE, Peer, header, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
STEP = SECOND // 30
OK, WARN, ERROR = 0, 1, 2
NEVER = 3600.0
StartNode = Callable[..., Peer]


def send(peer: Peer, count: int = 1, age: float = 0.0) -> None:
    """Publish frames as a camera does, of this age."""
    for _ in range(count):
        peer.publish(two_lane_road(), time.time_ns() - int(age * SECOND))


def told(peer: Peer, *words: str) -> Callable[[], bool]:
    return lambda: all(word in peer.health_now() for word in words)


@pytest.mark.parametrize(
    ("limit", "age", "words"),
    [
        # A real network takes longer than four small frames take to come, whatever the processor.
        ({"drop_warning": 0.01, "model": "lanes-lite"}, 0.0, ("because a newer one had come", "smaller model")),
        ({"latency_warning": 0.001}, 0.0, ("ms after their frames", "too slow")),
        ({"age_warning": 0.3}, 0.6, ("ms old when their result is published", "camera's delay")),
        ({"max_age": 0.3}, 0.6, ("older than 0.3 s", "raise max_age")),
        ({}, -20.0, ("ahead of this node's clock", "set the clocks")),
    ],
    ids=lambda value: next(iter(value), "clocks") if isinstance(value, dict) else "",
)
def test_more_than_a_limit_is_told(
    start_node: StartNode, limit: dict[str, Any], age: float, words: tuple[str, ...]
) -> None:
    peer = start_node(silence_warning=NEVER, **limit)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    peer.insist(lambda: send(peer, 4, age), told(peer, *words), 0.1, "not told")
    assert peer.health["level"] == (ERROR if "max_age" in limit else WARN)
    assert bool(masks) == ("max_age" not in limit)


def test_two_cameras_20_ms_apart_are_told_and_cost_no_id(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    other = peer.node.create_publisher(Image, "image", qos(10))
    peer.spin_until(other.get_subscription_count, "the second camera is not heard")

    def both() -> None:
        now = time.time_ns()
        peer.publish(two_lane_road(), now)
        other.publish(to_image(two_lane_road(), "bgr8", header(now - 20_000_000)))

    peer.insist(both, told(peer, "2 publishers on", "stop one"), 0.1, "not told")
    peer.insist(both, lambda: int(peer.health["processed"]) >= 20, 0.1, "no frames")
    assert peer.health["restarts"] == "0"
    stamps = [nanoseconds(mask.header.stamp) for mask in masks]
    assert stamps == sorted(set(stamps))


def test_a_recording_in_a_loop_is_served_every_time_and_told(start_node: StartNode) -> None:
    """As `ros2 bag play --loop --clock` sends it: clock and stamps jump back together."""
    peer = start_node(silence_warning=NEVER, use_sim_time=True)
    clocks = peer.node.create_publisher(Clock, "/clock", qos(10))
    masks = peer.listen(Image, "lane_mask")
    peer.spin_until(lambda: peer.images.get_subscription_count() and clocks.get_subscription_count(), "not heard")
    start = 1_600_000_000 * SECOND
    served = []
    for _ in range(3):
        before = len(masks)
        for number in range(24):
            now = start + number * STEP
            clocks.publish(Clock(clock=stamp_of(now)))
            peer.publish(two_lane_road(), now - 5_000_000)
            peer.spin_for(0.1)
        served.append(len(masks) - before)
    # Of a loop its first two frames are doubted; what is lost on its way, as best effort may, is not this test's.
    assert min(served) >= 10, served
    peer.spin_until(lambda: peer.health.get("stamps_backwards") == "2", "loops not counted")
    health = peer.health
    assert "ids started anew: stamps went back (2)" in health["message"]
    assert health["level"] == WARN
    assert health["clocks_apart_s"] == "0.0"
    assert health["dropped_failed"] == health["dropped_invalid"] == "0"


def test_a_clock_that_jumps_holds_up_neither_masks_nor_diagnostics(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER, use_sim_time=True)
    clocks = peer.node.create_publisher(Clock, "/clock", qos(10))
    masks = peer.listen(Image, "lane_mask")
    peer.spin_until(lambda: peer.images.get_subscription_count() and clocks.get_subscription_count(), "not heard")
    for seconds in (1000, 1001, 5, 0, 10**9, 6):
        stamps = itertools.count(seconds * SECOND, STEP)
        first = len(masks)
        peer.health = {}

        def send(stamps: Iterator[int] = stamps) -> None:
            now = next(stamps)
            clocks.publish(Clock(clock=stamp_of(now)))
            peer.publish(two_lane_road(), now)

        def served(first: int = first, seconds: int = seconds) -> bool:
            return any(seconds <= mask.header.stamp.sec < seconds + 100 for mask in masks[first:])

        peer.insist(send, served, 0.05, f"no mask after the clock went to {seconds} s")
        peer.insist(send, lambda: peer.health, 0.05, f"no diagnostics after the clock went to {seconds} s")
    assert peer.health["clocks_apart_s"] == "0.0"
    assert peer.health["dropped_failed"] == peer.health["dropped_invalid"] == "0"


class Bench:
    """The node in this process, so that it can be made to hang, and a peer."""

    def __init__(self, model: Path, **values: Any) -> None:
        self.node = LanesNode()
        self.peer = Node("trouble_peer")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)
        self.images = self.peer.create_publisher(Image, "image", 1)
        self.infos = self.peer.create_publisher(CameraInfo, "camera_info", 1)
        self.clouds: list[PointCloud2] = []
        self.masks: list[Image] = []
        self.reports: list[Any] = []
        self.peer.create_subscription(Image, "lanes/lane_mask", self.masks.append, 10)
        self.peer.create_subscription(DiagnosticArray, "/diagnostics", self._take, 10)
        given = {"model": str(model), "silence_warning": NEVER, **values}
        self.node.set_parameters([Parameter(name, value=value) for name, value in given.items()])
        assert lifecycle.start(self.node)
        self.until(lambda: self.images.get_subscription_count() and self.node.count_subscribers("lanes/lane_mask"))

    def _take(self, message: DiagnosticArray) -> None:
        self.reports += [each for each in message.status if each.name == "lanes: camera to masks"]

    def listen_to_points(self) -> None:
        self.peer.create_subscription(PointCloud2, "lanes/lane_points", self.clouds.append, 10)

    def until(self, done: Callable[[], Any], act: Callable[[], object] = lambda: None) -> None:
        end, acted = time.monotonic() + PATIENCE, 0.0
        while not done():
            assert time.monotonic() < end, [report.message for report in self.reports[-3:]]
            if time.monotonic() - acted > 0.1:
                act()
                acted = time.monotonic()
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, picture: np.ndarray | None = None) -> int:
        stamp = time.time_ns()
        self.images.publish(to_image(two_lane_road() if picture is None else picture, "bgr8", header(stamp)))
        return stamp

    def send_both(self, info: CameraInfo) -> None:
        self.infos.publish(info)
        self.send()

    def told(self, *words: str) -> bool:
        return bool(self.reports) and all(word in self.reports[-1].message for word in words)

    def close(self) -> None:
        self.node.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def bench(dds: dict[str, str], model: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**values: Any) -> Bench:
        made.append(Bench(model, **values))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.slow
def test_a_worker_that_hangs_is_an_error_and_what_it_finds_later_is_not_published(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = bench(watchdog=0.5, max_age=0.0)
    hanging.until(lambda: hanging.masks, hanging.send)
    pipeline, go_on, hung = hanging.node.pipelines[0], threading.Event(), threading.Event()
    run = type(pipeline).__call__

    def hang(self: Any, frame: Frame) -> Any:
        result = run(self, frame)
        if self is pipeline:
            hung.set()
            go_on.wait(PATIENCE)
        return result

    monkeypatch.setattr(type(pipeline), "__call__", hang)
    monkeypatch.setattr("rtseg_ros.node.ENDING_SECONDS", 0.2)
    stamp = 0

    def send() -> None:
        nonlocal stamp
        stamp = stamp if hung.is_set() else hanging.send()

    hanging.until(hung.is_set, send)
    hanging.until(lambda: hanging.told("the worker has been at one frame for", "restart the node"))
    assert hanging.reports[-1].level[0] == ERROR
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        getattr(hanging.node, f"trigger_{transition}")()
    hanging.masks.clear()
    go_on.set()
    hanging.until(lambda: len(hanging.masks) > 3, hanging.send)
    assert min(nanoseconds(mask.header.stamp) for mask in hanging.masks) > stamp
    counts = hanging.node.statistics.snapshot().counts
    assert counts.dropped["failed"] == 0


def test_what_has_waited_while_nothing_was_handled_is_dropped_as_old(bench: Callable[..., Bench]) -> None:
    """As of a process that was stopped: of frames in shared memory none waits for that, of those in sockets some do."""
    held_up = bench(max_age=0.5)
    held_up.until(lambda: held_up.masks, held_up.send)
    stamps: list[int] = []

    def send_and_wait() -> None:
        stamps.append(held_up.send())
        time.sleep(1.0)

    held_up.until(lambda: held_up.node.statistics.snapshot().counts.dropped["old"], send_and_wait)
    assert not {nanoseconds(mask.header.stamp) for mask in held_up.masks} & set(stamps)


def _info(**fields: Any) -> CameraInfo:
    info = CameraInfo(width=256, height=144, distortion_model="plumb_bob", d=[-0.1, 0.01, 0.0, 0.0, 0.0])
    info.k = [200.0, 0.0, 128.0, 0.0, 200.0, 30.0, 0.0, 0.0, 1.0]
    info.p = [180.0, 0.0, 130.0, 0.0, 0.0, 180.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in fields.items():
        if name in ("x_offset", "y_offset"):
            setattr(info.roi, name, value)
        else:
            setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"distortion_model": "rational_polynomial", "d": [-0.1, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]},
        {"distortion_model": "rational_polynomial", "d": [-0.1, 0.01, 0.0, 0.0, 0.0, 0.02, 0.0, 0.0]},
        {"distortion_model": "equidistant", "d": [-0.02, 0.003, 0.0, 0.0]},
        {"width": 512, "height": 288, "binning_x": 2, "binning_y": 2, "k": [400.0, 0, 256, 0, 400, 60, 0, 0, 1]},
        {"height": 288, "y_offset": 144, "k": [200.0, 0, 128, 0, 200, 174, 0, 0, 1]},
    ],
    ids=["plumb_bob", "rational_polynomial in name", "rational_polynomial", "fisheye", "binned", "region of interest"],
)
def test_lanes_stand_where_the_calibration_puts_them(bench: Callable[..., Bench], fields: dict[str, Any]) -> None:
    node = bench(mount_height=1.4, mount_pitch=1.0)
    node.listen_to_points()
    # The first calibrated one counts, not what a driver sends before, nor a broken one after it.
    for info in (_info(k=[0.0] * 9), _info(**fields), _info(k=[0.0] * 9), _info(k=[float("nan")] * 9)):
        for _ in range(3):
            node.until(node.infos.get_subscription_count, lambda info=info: node.infos.publish(info))
            node.infos.publish(info)
            node.executor.spin_once(timeout_sec=0.05)
    node.until(lambda: node.clouds, lambda: node.send_both(_info(**fields)))
    cloud = np.frombuffer(node.clouds[-1].data, dtype=POINT_TYPE)
    lanes = node.node.pipelines[0](Frame(two_lane_road()))
    camera = camera_of(_info(**fields), mount=Mount(height=1.4, pitch=np.radians(1.0)))
    assert camera is not None
    plane = GroundPlane(camera.scaled(256, 144))
    expected = np.concatenate([plane.project(line) for line in lanes.polylines])
    expected = expected[(expected[:, 0] > 0) & (expected[:, 0] < 80)]
    np.testing.assert_allclose(np.stack([cloud[axis] for axis in "xyz"], axis=1), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 640, "height": 480}, ("640x480", "256x144", "another camera's")),
        ({"distortion_model": "thin_prism", "d": [0.1, 0.0, 0.0, 0.0]}, ("cannot be used", "thin_prism")),
        ({"k": [1e300, 0.0, 128.0, 0.0, 1e300, 30.0, 0.0, 0.0, 1.0]}, ("cannot be used", "of a lens", "1e+300")),
        ({"k": [1e-9, 0.0, 128.0, 0.0, 200.0, 30.0, 0.0, 0.0, 1.0]}, ("cannot be used", "of a lens", "1e-09")),
        ({"d": [1e300, 0.0, 0.0, 0.0, 0.0]}, ("cannot be used", "of a lens", "1e+300")),
    ],
    ids=["another shape", "unknown lens", "absurdly long", "absurdly short", "absurdly bent"],
)
def test_a_calibration_that_does_not_fit_is_told_and_the_masks_go_on(
    bench: Callable[..., Bench], fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    node = bench(mount_height=1.4)
    node.until(lambda: node.masks and node.told(*words), lambda: node.send_both(_info(**fields)))


def test_a_rectified_topic_uses_the_projection_and_no_distortion(start_node: StartNode) -> None:
    peer = start_node("image:=front/image_rect", mount_height=1.4, silence_warning=NEVER)
    images = peer.node.create_publisher(Image, "front/image_rect", qos(5))
    infos = peer.node.create_publisher(CameraInfo, "front/camera_info", qos(1))
    clouds = peer.listen(PointCloud2, "lane_points")
    peer.wait_until_listening(images)

    def both() -> None:
        infos.publish(_info())
        images.publish(to_image(two_lane_road(), "bgr8", header(time.time_ns())))

    peer.insist(both, lambda: clouds, 0.5, "no points", LOST * 3)
    cloud = np.frombuffer(clouds[-1].data, dtype=POINT_TYPE)
    camera = camera_of(_info(), rectified=True, mount=Mount(height=1.4))
    assert camera is not None
    assert (camera.K[0, 0], np.any(camera.distortion)) == (180.0, False)
    back = GroundPlane(camera).unproject(np.stack([cloud[axis] for axis in "xyz"], axis=1).astype(float))
    lines = [(70 - (y - 40) // 3, 180 + (y - 40) // 3) for y in back[:, 1].round().astype(int)]
    assert np.abs(np.array(lines) - back[:, :1]).min(axis=1).max() < 6
