"""The mounting of the camera from /tf_static: taken where none is configured, and held against what is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.parameter import Parameter
from rtseg_ros import lifecycle
from rtseg_ros.lanes import LanesNode
from rtseg_ros.road_camera import TF_QOS, TFMessage
from sensor_msgs.msg import CameraInfo, PointCloud2

from rtseg.camera import Mount
from rtseg.frame import Frame
from rtseg.media import open_frames
from tests.camera.test_transforms import robot
from tests.media.recordings import INFO, RAW, START, Messages, write_bag
from tests.ros.harness import LOST, Peer, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
MOUNT = Mount(1.4, 0.06, 0.02, -0.1, (1.2, 0.1))


def stamped(mount: Mount) -> list[TransformStamped]:
    made = []
    for each in robot(mount):
        one = TransformStamped(child_frame_id=each.child_frame_id)
        one.header.frame_id = each.header.frame_id
        for part in ("translation", "rotation"):
            for axis, value in vars(getattr(each.transform, part)).items():
                setattr(getattr(one.transform, part), axis, float(value))
        made.append(one)
    return made


def camera_info() -> CameraInfo:
    info = CameraInfo(width=256, height=144, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [200.0, 0.0, 128.0, 0.0, 200.0, 30.0, 0.0, 0.0, 1.0]
    return info


@pytest.fixture
def node(dds: dict[str, str], model: Path) -> Iterator[LanesNode]:
    made = LanesNode()
    made.set_parameters([Parameter("model", value=str(model)), Parameter("vehicle_frame", value="base_footprint")])
    yield made
    made.close()
    made.destroy_node()


@pytest.mark.parametrize(("height", "pitch"), [(0.0, 0.0), (1.4, np.degrees(0.06)), (1.4, 9.0)])
def test_it_is_taken_where_none_is_configured_and_told_where_it_differs(
    node: LanesNode, height: float, pitch: float
) -> None:
    node.set_parameters([Parameter("mount_height", value=height), Parameter("mount_pitch", value=float(pitch))])
    assert lifecycle.start(node)
    camera, frame = node._road, Frame(two_lane_road(), SECOND, "camera_optical")
    camera._take_info(camera_info())
    before = camera.plane(frame, wanted=True)
    assert (before is None) == (height == 0)
    if before is None:
        assert "mounting" in node.hints["camera"]
    camera._take_transforms(SimpleNamespace(transforms=stamped(MOUNT)))
    plane = camera.plane(frame, wanted=True)
    assert plane is not None
    assert plane is camera.plane(frame, wanted=True), "made once"
    assert "camera" not in node.hints
    if height == 0:
        np.testing.assert_allclose(plane.camera.mount.rotation(), MOUNT.rotation(), atol=1e-9)
        assert "mounting" not in node.hints
    else:
        assert plane.camera.mount.pitch == pytest.approx(np.radians(pitch))
        assert "by TF it is height 1.40 m, pitch 3.4, roll 1.1, yaw -5.7" in node.hints["mounting"]
    camera._take_transforms(SimpleNamespace(transforms=stamped(Mount(1.4, float(np.radians(pitch))))))
    assert camera.plane(frame, wanted=True) is not plane, "another mounting"
    assert "mounting" not in node.hints
    assert camera.plane(Frame(two_lane_road(), SECOND, "nowhere"), wanted=True) is None or height


def test_a_recording_of_it_gives_the_same_road_to_the_node_and_to_a_replay(node: LanesNode, tmp_path: Path) -> None:
    messages = Messages(ros1=False)
    told = stamped(MOUNT)
    told[0].child_frame_id = "camera_front"
    recorded = messages.transforms(START, robot(MOUNT))
    recorded.transforms[0].child_frame_id = "camera_front"
    info, picture = messages.camera_info(START), messages.image(0, START)
    entries = [("/tf_static", START, recorded), (INFO, START, info), (RAW, START, picture)]
    node.set_parameters([Parameter("vehicle_frame", value="base_link")])
    assert lifecycle.start(node)
    node._road._take_transforms(SimpleNamespace(transforms=told))
    live = CameraInfo(width=info.width, height=info.height, distortion_model="plumb_bob", d=list(info.d))
    live.k = list(info.k)
    node._road._take_info(live)
    with open_frames(write_bag(tmp_path, "mcap", entries, messages)) as source:
        (frame,) = source
        plane = node._road.plane(frame, wanted=True)
        assert plane is not None
        assert source.camera is not None
        assert vars(source.camera.mount) == vars(plane.camera.mount)
        np.testing.assert_array_equal(source.camera.K, plane.camera.K)
        np.testing.assert_array_equal(source.camera.distortion, plane.camera.distortion)


@pytest.mark.skipif(TFMessage is None, reason="tf2_msgs is not installed, which has no wheel")
def test_it_comes_from_tf_static(start_node: Callable[..., Peer]) -> None:
    peer = start_node(silence_warning=3600.0, vehicle_frame="base_footprint")
    clouds = peer.listen(PointCloud2, "lane_points")
    transforms = stamped(MOUNT)
    for each in transforms:  # the peer's pictures are of the frame "camera"
        each.header.frame_id = each.header.frame_id.replace("camera", "body")
        each.child_frame_id = {"camera": "body", "camera_optical": "camera"}.get(
            each.child_frame_id, each.child_frame_id
        )
    peer.node.create_publisher(TFMessage, "/tf_static", TF_QOS).publish(TFMessage(transforms=transforms))
    peer.node.create_publisher(CameraInfo, "camera_info", qos(1, latched=True)).publish(camera_info())
    peer.wait_until_listening()
    stamps = itertools.count(2)
    peer.insist(lambda: peer.publish(two_lane_road(), next(stamps) * SECOND), lambda: clouds, LOST, "no points")
    assert clouds[0].width > 10
    assert "mounting by TF: height 1.40 m" in peer.process.output()
