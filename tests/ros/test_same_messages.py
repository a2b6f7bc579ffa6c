"""One recording through the node over DDS and through `rtseg replay`: every message of the two, field by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from nav_msgs.msg import OccupancyGrid
from nav_msgs.msg import Path as PathMessage
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rtseg_ros.messages import LABEL_INFO_TYPE, Detection2DArray, to_frame, to_image
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

import rtseg
from rtseg.camera import Camera, Mount
from rtseg.frame import Frame
from rtseg.lab.replay.replay import replay
from tests.instance_networks import paint, write_instance_model
from tests.lab.replay.runs import ListSource
from tests.ros.harness import Peer, header, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
STEP = 50_000_000
FRAMES = 6
TOPICS: dict[str, dict[str, type]] = {
    "lanes": {
        "lane_mask": Image,
        "lanes": MarkerArray,
        "lane_points": PointCloud2,
        "lane_pixels": PointCloud2,
        "lane_grid": OccupancyGrid,
        "ego_path": PathMessage,
        "ego_lane": PointCloud2,
    },
    "instances": {"instance_mask": Image, "class_mask": Image, "free_space": OccupancyGrid},
}
if Detection2DArray is not None:
    TOPICS["instances"]["detections"] = Detection2DArray


def _pictures(task: str) -> list[np.ndarray]:
    if task == "lanes":
        return [np.roll(two_lane_road(), 2 * i, axis=1) for i in range(FRAMES)]
    boxes = [(1, 0, (96, 40, 176, 96)), (0, 2, (200, 96, 216, 120))]
    return [paint([*boxes, (0, 1, (16 + 2 * i, 56, 40 + 2 * i, 120))], (128, 256))[0] for i in range(FRAMES)]


def fields_of(message: Any) -> Any:
    """A message of rclpy or of rosbags as plain dictionaries, lists and arrays."""
    if hasattr(message, "get_fields_and_field_types"):
        return {name: fields_of(getattr(message, name)) for name in message.get_fields_and_field_types()}
    if hasattr(message, "__msgtype__"):
        names = (field.name for field in dataclasses.fields(message))
        return {name: fields_of(getattr(message, name)) for name in names if name.islower() and name != "__msgtype__"}
    if isinstance(message, list):
        return [fields_of(entry) for entry in message]
    if isinstance(message, str | bool | int | float | bytes):
        return message
    return np.asarray(message)


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        if set(one) != set(other):
            return [f"{where}: fields {set(one) ^ set(other)}"]
        return [found for name in one for found in differences(one[name], other[name], f"{where}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
        return [found for i, (a, b) in enumerate(pairs) for found in differences(a, b, f"{where}[{i}]")]
    if isinstance(one, float):
        return [] if np.float32(one) == np.float32(other) else [f"{where}: {one} and {other}"]
    same = np.array_equal(np.asarray(one), np.asarray(other))
    return [] if same else [f"{where}: {str(one)[:80]} and {str(other)[:80]}"]


@pytest.fixture
def models(model: Path, tmp_path: Path) -> dict[str, Path]:
    instances = write_instance_model(tmp_path / "blocks")
    rtseg.load(instances).warm_up()  # as in the fixture `model`
    return {"lanes": model, "instances": instances}


@pytest.mark.parametrize("task", ["lanes", "instances"])
def test_the_node_publishes_what_a_replay_stores(
    start_node: Callable[..., Peer], models: dict[str, Path], tmp_path: Path, task: str
) -> None:
    pictures = _pictures(task)
    height, width = pictures[0].shape[:2]
    k = [[200.0, 0, 128], [0, 200, 30], [0, 0, 1]]
    distortion = [-0.1, 0.01, 0.0, 0.0, 0.0]
    camera = Camera(width=width, height=height, K=k, distortion=distortion, mount=Mount(height=1.4, pitch=0.02))
    camera.save(tmp_path / "camera.yaml")
    frames = [Frame(picture, START + i * STEP, "camera") for i, picture in enumerate(pictures)]
    stored = replay(ListSource(frames), rtseg.load(models[task]), tmp_path / "out", progress=False, camera=camera).bag

    peer = start_node(executable=task, model=str(models[task]), camera=str(tmp_path / "camera.yaml"))
    published: dict[str, list[Any]] = {topic: peer.listen(kind, topic) for topic, kind in TOPICS[task].items()}
    published["overlay/compressed"] = peer.listen(CompressedImage, "overlay/compressed")
    twins = {topic: peer.listen(CompressedImage, f"{topic}/compressed") for topic in published if "_mask" in topic}
    told = peer.listen(LABEL_INFO_TYPE, "label_info", qos(1, latched=True))
    peer.wait_until_listening()
    first = next(iter(TOPICS[task]))
    for frame in frames:
        peer.exchange(frame.image, frame.stamp or 0, published[first])
    everything = [*published.values(), *twins.values()]
    peer.spin_until(lambda: told and all(len(got) == FRAMES for got in everything), "not every topic")
    for topic, compressed in twins.items():
        for one, other in zip(compressed, published[topic], strict=True):
            assert one.header == other.header
            assert one.format == f"{other.encoding}; png compressed "
            decoded = cv2.imdecode(np.frombuffer(one.data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert decoded.shape == (other.height, other.width)
            assert decoded.tobytes() == bytes(other.data)

    compared = 0
    with AnyReader([stored], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        kept: dict[str, list[Any]] = {}
        for connection, _, raw in reader.messages():
            kept.setdefault(connection.topic, []).append(reader.deserialize(raw, connection.msgtype))
    for topic, messages in published.items():
        assert len(kept[f"/{task}/{topic}"]) == FRAMES
        for one, other in zip(messages, kept[f"/{task}/{topic}"], strict=True):
            mine, yours = fields_of(one), fields_of(other)
            if topic == "overlay/compressed":  # its legend tells the times of that very run
                mine, yours = ({**fields, "data": b""} for fields in (mine, yours))
                assert to_frame(one).size == (height, width)
            assert differences(mine, yours, topic) == []
            compared += 1
    if LABEL_INFO_TYPE is String:
        assert [message.data for message in kept[f"/{task}/label_info"]] == [told[0].data]
    assert compared == FRAMES * len(published)
    sent = fields_of(to_image(pictures[0], "bgr8", header(START)))
    assert differences(sent["header"], fields_of(kept["/camera/image/compressed"][0].header)) == []
    absent = {"detections"} if task == "instances" and Detection2DArray is None else set()
    assert all(f"/{topic} is absent" in peer.process.output() for topic in absent)
    assert {topic for topic in kept if not topic.startswith("/camera")} == {
        f"/{task}/{topic}" for topic in (*published, "label_info", *absent)
    }
