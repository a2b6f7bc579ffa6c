"""Nothing is computed for a topic that nobody subscribes to, and one task's fault does not stop the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rtseg_ros.instances
import rtseg_ros.lanes
from nav_msgs.msg import OccupancyGrid
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rtseg_ros import lifecycle, messages
from rtseg_ros.instances import InstancesNode
from rtseg_ros.lanes import LanesNode
from rtseg_ros.node import FrameNode
from rtseg_ros.perception import PerceptionNode
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from rtseg.camera import Camera
from rtseg.errors import GroupingError
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.lanes import GroundPlane
from rtseg.messages import masks
from tests.instance_networks import write_instance_model
from tests.ros.harness import PATIENCE
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros


class Bench:
    """The node and a subscriber in this process, so that what the node calls can be counted."""

    def __init__(self, node: FrameNode, values: dict[str, str]) -> None:
        self.node = node
        self.peer = Node("lazy_peer")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)
        self.images = self.peer.create_publisher(Image, "image", 1)
        self.node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
        assert lifecycle.start(self.node)
        self.until(self.images.get_subscription_count)

    def until(self, done: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end
            self.executor.spin_once(timeout_sec=0.05)

    def send_frame(self) -> None:
        """Publish one frame and wait until the node is done with it."""
        before = self.node.statistics.snapshot().counts.processed
        self.images.publish(messages.to_image(two_lane_road(), "bgr8", Header()))
        self.until(lambda: self.node.statistics.snapshot().counts.processed > before)

    def close(self) -> None:
        self.node.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def camera(tmp_path: Path) -> str:
    Camera(width=256, height=144, K=[[200.0, 0, 128], [0, 200, 30], [0, 0, 1]]).save(tmp_path / "camera.yaml")
    return str(tmp_path / "camera.yaml")


@pytest.fixture
def bench(dds: dict[str, str], model: Path, camera: str) -> Iterator[Bench]:
    made = Bench(LanesNode(), {"model": str(model), "camera": camera})
    yield made
    made.close()


@pytest.fixture
def instance_bench(dds: dict[str, str], camera: str, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(InstancesNode(), {"model": str(write_instance_model(tmp_path / "blocks")), "camera": camera})
    yield made
    made.close()


@pytest.mark.parametrize(
    ("topic", "message_type", "work"),
    [
        ("lane_mask", Image, "to_image"),
        ("lane_mask/compressed", CompressedImage, "to_png"),
        ("lanes", MarkerArray, "to_markers"),
        ("lane_points", PointCloud2, "to_points"),
        ("lane_pixels", PointCloud2, "to_points"),
        ("lane_grid", OccupancyGrid, "to_grid"),
        ("ground/points", PointCloud2, "to_points"),
        ("ground/mask", Image, "to_image"),
        ("ego_path", PathMessage, "to_path"),
        ("ego_lane", PointCloud2, "to_points"),
        ("overlay", Image, "draw_lanes"),
        ("overlay/compressed", CompressedImage, "to_jpeg"),
    ],
)
def test_work_begins_with_the_first_subscriber(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, topic: str, message_type: type, work: str
) -> None:
    done: list[str] = []
    for owner, name in [
        (messages, "to_image"),
        (messages, "to_png"),
        (messages, "to_markers"),
        (messages, "to_points"),
        (messages, "to_path"),
        (messages, "to_grid"),
        (messages, "to_jpeg"),
        (rtseg_ros.lanes, "draw_lanes"),
        (GroundPlane, "project"),
    ]:
        original = getattr(owner, name)

        def counted(*arguments: Any, name: str = name, original: Any = original, **named: Any) -> Any:
            done.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    bench.send_frame()
    assert done == ["to_image"]  # the test's own, of the frame it sent

    received: list[Any] = []
    bench.peer.create_subscription(message_type, f"lanes/{topic}", received.append, 1)
    bench.until(lambda: bench.peer.count_publishers(f"lanes/{topic}"))
    done.clear()

    def a_frame_came_through() -> bool:
        bench.send_frame()
        return bool(received)

    bench.until(a_frame_came_through)
    expected = {"to_image", work}
    if topic.startswith("overlay"):
        expected |= {"draw_lanes", "project"}  # the legend tells the own lane
    if topic in ("lanes", "lane_points", "lane_grid", "ego_path", "ego_lane", "ground/points", "ground/mask"):
        expected |= {"project"}
    assert set(done) == expected


def test_instances_too_are_worked_on_only_for_subscribers(
    instance_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for owner, name in [
        (messages, "to_image"),
        (messages, "to_jpeg"),
        (masks, "look_up"),
        (rtseg_ros.instances, "draw_instances"),
        (rtseg_ros.instances, "surface_kinds"),
        (rtseg_ros.instances, "surface_mask"),
        (GroundPlane, "project"),
    ]:
        original = getattr(owner, name)

        def counted(*arguments: Any, name: str = name, original: Any = original) -> Any:
            done.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)

    instance_bench.send_frame()
    assert done == ["to_image"]  # the test's own, of the frame it sent
    task: Any = instance_bench.node.tasks[0]
    for topic, message_type, work, publisher in [
        ("instance_mask", Image, {"to_image", "look_up"}, task._mask),
        ("class_mask", Image, {"to_image", "look_up"}, task._class_mask),
        ("overlay/compressed", CompressedImage, {"to_image", "draw_instances", "to_jpeg"}, task._overlay._jpeg),
        ("free_space", OccupancyGrid, {"to_image", "surface_kinds", "project"}, task._free),
        ("ground/mask", Image, {"to_image", "surface_kinds", "surface_mask"}, task._layer),
    ]:
        received: list[Any] = []
        subscription = instance_bench.peer.create_subscription(message_type, f"instances/{topic}", received.append, 1)
        done.clear()

        def a_frame_came_through(received: list[Any] = received) -> bool:
            instance_bench.send_frame()
            return bool(received)

        instance_bench.until(a_frame_came_through)
        assert set(done) == work
        instance_bench.peer.destroy_subscription(subscription)
        instance_bench.until(lambda publisher=publisher: not publisher.get_subscription_count())


def test_what_one_task_cannot_do_does_not_keep_the_other_from_it(
    dds: dict[str, str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = write_instance_model(tmp_path / "blocks")
    bench = Bench(PerceptionNode(), {"lanes_model": str(model), "instances_model": str(instances)})
    try:
        masks: list[Image] = []
        bench.peer.create_subscription(Image, "lanes/lane_mask", masks.append, 1)
        bench.until(lambda: bench.node.count_subscribers("lanes/lane_mask"))
        bench.send_frame()

        def fail(*arguments: Any) -> Any:
            raise GroupingError("injected: expected finite maps")

        monkeypatch.setattr(InstanceInterpreter, "group", fail)
        before = bench.node.statistics.snapshot().counts
        later = Header(stamp=messages.stamp_of(1))
        bench.images.publish(messages.to_image(two_lane_road(), "bgr8", later))
        bench.until(lambda: bench.node.statistics.snapshot().counts.dropped["failed"] > before.dropped["failed"])
        bench.until(lambda: any(mask.header == later for mask in masks))
        after = bench.node.statistics.snapshot().counts
        assert after.processed == before.processed
        assert "injected" in after.last_fault
    finally:
        bench.close()
