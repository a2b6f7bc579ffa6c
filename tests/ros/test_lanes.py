"""The lane node as colcon builds it, in its own process over DDS: what it publishes for good frames."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rtseg_ros import messages
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

import rtseg
from rtseg.camera import Camera, Mount
from rtseg.frame import Frame
from rtseg.lanes import GroundPlane, ego_lane
from rtseg.media.overlay import draw_lanes
from rtseg.messages import GROUND_TYPE, POINT_TYPE, ground_points, line_confidence, line_labels, line_mask
from tests.ros.harness import LOST, Peer, header, mask_of, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
StartNode = Callable[..., Peer]


def _as_encoding(image: np.ndarray, encoding: str) -> np.ndarray:
    conversions = {"rgb8": cv2.COLOR_BGR2RGB, "bgra8": cv2.COLOR_BGR2BGRA, "mono8": cv2.COLOR_BGR2GRAY}
    if encoding in conversions:
        return cv2.cvtColor(image, conversions[encoding])
    if encoding == "yuv422":
        return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_UYVY)
    return image


def _drive(frames: int) -> list[np.ndarray]:
    """The road with its lines wandering to the right, and a third line that comes and goes."""
    pictures = []
    for number in range(frames):
        image = np.roll(two_lane_road(), 2 * number, axis=1)
        if 3 <= number < 8:
            image[60:, 120:134] = (255, 0, 0)
        pictures.append(image)
    return pictures


def test_masks_equal_the_offline_pipeline_pixel_by_pixel(start_node: StartNode, model: Path) -> None:
    offline = rtseg.load(model)
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    for number, image in enumerate(_drive(12)):
        stamp = 5 * SECOND + number * 33_333_333
        expected = offline(Frame(image, stamp))
        got = peer.exchange(image, stamp, masks)
        np.testing.assert_array_equal(mask_of(got), expected.mask)
        assert len(set(np.unique(expected.mask)) - {0}) == (3 if 3 <= number < 8 else 2)
        assert got.header == header(stamp)
    assert len(masks) == 12


def test_every_encoding_gives_the_mask_of_the_same_picture(start_node: StartNode, model: Path) -> None:
    peer = start_node(transport="raw")
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    offline = rtseg.load(model)
    for number, encoding in enumerate(["rgb8", "bgra8", "yuv422", "mono8"], start=1):
        sent = _as_encoding(two_lane_road(), encoding)
        frame = messages.to_frame(messages.to_image(sent, encoding, header(number * SECOND)))
        expected = offline(frame).mask
        got = mask_of(peer.exchange(sent, number * SECOND, masks, encoding))
        np.testing.assert_array_equal(got, expected, err_msg=encoding)
        assert expected.any() == (encoding != "mono8")


def test_compressed_frames_are_found_and_equal_the_offline_pipeline(start_node: StartNode, model: Path) -> None:
    peer = start_node()
    peer.node.destroy_publisher(peer.images)
    publisher = peer.node.create_publisher(CompressedImage, "image/compressed", qos(5))
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening(publisher)
    message = messages.to_jpeg(two_lane_road(), 95, header(SECOND))
    peer.insist(lambda: publisher.publish(message), lambda: masks, LOST, "no mask")
    expected = rtseg.load(model)(messages.to_frame(message))
    assert len(expected) == 2
    np.testing.assert_array_equal(mask_of(masks[0]), expected.mask)
    assert masks[0].header == message.header


def test_lines_and_points_on_the_ground(start_node: StartNode, model: Path, tmp_path: Path) -> None:
    k = np.array([[200.0, 0, 128], [0, 200, 30], [0, 0, 1]])
    camera = Camera(width=256, height=144, K=k, distortion=np.zeros(5), mount=Mount(height=1.4, pitch=0.02))
    camera.save(tmp_path / "camera.yaml")
    peer = start_node(camera=str(tmp_path / "camera.yaml"), vehicle_frame="car")
    markers = peer.listen(MarkerArray, "lanes")
    clouds = peer.listen(PointCloud2, "lane_points")
    peer.wait_until_listening()
    image = two_lane_road()
    peer.insist(lambda: peer.publish(image, SECOND), lambda: markers and clouds, LOST, "no ground topics")

    lanes = rtseg.load(model)(Frame(image, SECOND))
    projected = [GroundPlane(camera).project(line) for line in lanes.polylines]
    expected = [points[(points[:, 0] > 0) & (points[:, 0] < 80.0)] for points in projected]
    first, *others = markers[0].markers
    assert first.action == Marker.DELETEALL
    lines = [marker for marker in others if marker.ns == "lanes"]
    assert [line.id for line in lines] == lanes.ids.tolist()
    assert [line.text for line in lines] == ["left", "right"]
    ego = ego_lane(lanes, GroundPlane(camera))
    (middle,) = (marker for marker in others if marker.ns == "own_lane")
    assert middle.text == ego.describe() != ""
    assert [p.y for p in middle.points] == pytest.approx([ego.center(p.x) for p in middle.points])
    for line, points in zip(lines, expected, strict=True):
        assert line.type == Marker.LINE_STRIP
        assert line.header == header(SECOND, "car")
        np.testing.assert_allclose([(p.x, p.y, p.z) for p in line.points], points, atol=1e-5)
    cloud = np.frombuffer(clouds[0].data, dtype=POINT_TYPE)
    assert clouds[0].header == header(SECOND, "car")
    np.testing.assert_array_equal(cloud["id"], np.repeat(lanes.ids, [len(points) for points in expected]))
    np.testing.assert_array_equal(cloud["confidence"], lanes.confidence[(cloud["id"] != lanes.ids[0]).astype(int)])
    stacked = np.concatenate(expected)
    np.testing.assert_allclose(np.stack([cloud["x"], cloud["y"], cloud["z"]], axis=1), stacked, rtol=1e-5, atol=1e-5)
    # The left line lies to the left (y > 0) and ahead.
    assert cloud["y"][cloud["id"] == lanes.ids[0]].min() > 0 > cloud["y"][cloud["id"] == lanes.ids[1]].max()
    assert cloud["x"].min() > 0


def test_what_the_semantic_segmentation_layer_reads(start_node: StartNode, model: Path, tmp_path: Path) -> None:
    k = np.array([[200.0, 0, 128], [0, 200, 30], [0, 0, 1]])
    camera = Camera(width=256, height=144, K=k, distortion=np.zeros(5), mount=Mount(height=1.4, pitch=0.02))
    camera.save(tmp_path / "camera.yaml")
    peer = start_node(camera=str(tmp_path / "camera.yaml"), vehicle_frame="car")
    sensor = qos(50, reliable=False)  # as the layer subscribes
    clouds = peer.listen(PointCloud2, "ground/points", sensor)
    masks, sure = (peer.listen(Image, f"ground/{topic}", sensor) for topic in ("mask", "confidence"))
    told = peer.listen(messages.LABEL_INFO_TYPE, "ground/label_info", qos(5, latched=True))
    peer.wait_until_listening()
    image = two_lane_road()
    peer.insist(lambda: peer.publish(image, SECOND), lambda: clouds and masks and sure and told, LOST, "no ground")

    lanes, plane = rtseg.load(model)(Frame(image, SECOND)), GroundPlane(camera)
    cloud = clouds[0]
    assert cloud.header == header(SECOND, "car")
    assert masks[0].header == sure[0].header == header(SECOND)
    assert (cloud.height, cloud.width) == (masks[0].height, masks[0].width) == (sure[0].height, sure[0].width)
    assert (cloud.point_step, cloud.row_step, cloud.is_dense) == (12, 12 * cloud.width, False)
    assert len(cloud.data) == cloud.row_step * cloud.height
    points = np.frombuffer(cloud.data, dtype=GROUND_TYPE).reshape(cloud.height, cloud.width)
    assert points.tobytes() == ground_points(plane).tobytes()
    np.testing.assert_array_equal(mask_of(masks[0]), line_mask(lanes, ego_lane(lanes, plane)).pixels)
    np.testing.assert_array_equal(mask_of(sure[0]), line_confidence(lanes).pixels)
    assert set(np.unique(mask_of(masks[0]))) == {0, 2}
    if messages.LABEL_INFO_TYPE is String:
        classes = {each["class_id"]: each["class_name"] for each in json.loads(told[0].data)["class_map"]}
    else:
        classes = {each.class_id: each.class_name for each in told[0].class_map}
    assert classes == line_labels()


def test_camera_info_serves_where_no_calibration_file_is_given(start_node: StartNode) -> None:
    peer = start_node(mount_height=1.4, mount_pitch=1.0, silence_warning=3600.0)
    clouds = peer.listen(PointCloud2, "lane_points")
    infos = peer.node.create_publisher(CameraInfo, "camera_info", qos(1))
    peer.wait_until_listening()
    peer.insist(
        lambda: peer.publish(two_lane_road(), SECOND), lambda: "wait for" in peer.health["message"], LOST, "no hint"
    )
    assert "camera_info" in peer.health["message"]
    assert not clouds
    info = CameraInfo(width=256, height=144, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [200.0, 0.0, 128.0, 0.0, 200.0, 30.0, 0.0, 0.0, 1.0]
    stamps = itertools.count(2)

    def send_both() -> None:
        infos.publish(info)
        peer.publish(two_lane_road(), next(stamps) * SECOND)

    peer.insist(send_both, lambda: clouds, every=1.0, what="no points")
    assert clouds[0].width > 10


def test_a_calibration_published_once_and_kept_for_latecomers_is_received(start_node: StartNode) -> None:
    peer = start_node(mount_height=1.4, mount_pitch=1.0, silence_warning=3600.0)
    clouds = peer.listen(PointCloud2, "lane_points")
    info = CameraInfo(width=256, height=144, distortion_model="rational_polynomial", d=[0.0] * 8)
    info.k = [200.0, 0.0, 128.0, 0.0, 200.0, 30.0, 0.0, 0.0, 1.0]
    peer.node.create_publisher(CameraInfo, "camera_info", qos(1, latched=True)).publish(info)
    peer.wait_until_listening()
    stamps = itertools.count(2)
    peer.insist(lambda: peer.publish(two_lane_road(), next(stamps) * SECOND), lambda: clouds, LOST, "no points")
    assert clouds[0].width > 10


def test_overlays(start_node: StartNode, model: Path) -> None:
    peer = start_node(overlay_width=128)
    raw = peer.listen(Image, "overlay")
    jpeg = peer.listen(CompressedImage, "overlay/compressed")
    peer.wait_until_listening()
    image = two_lane_road()
    peer.insist(lambda: peer.publish(image, SECOND), lambda: raw and jpeg, LOST, "no overlay")
    drawn = draw_lanes(image, rtseg.load(model)(Frame(image, SECOND)))
    expected = cv2.resize(drawn, (128, 72), interpolation=cv2.INTER_AREA)
    assert raw[0].encoding == "bgr8"
    # Above row 24 stands the legend with the times of this very run.
    np.testing.assert_array_equal(messages.to_frame(raw[0]).image[24:], expected[24:])
    assert (expected[24:] != cv2.resize(image, (128, 72), interpolation=cv2.INTER_AREA)[24:]).any()
    assert np.abs(messages.to_frame(jpeg[0]).image.astype(int) - expected).mean() < 8
    assert raw[0].header == jpeg[0].header == header(SECOND)


def test_late_subscribers_learn_what_the_mask_means(start_node: StartNode) -> None:
    peer = start_node()
    peer.wait_until_listening()
    told = peer.listen(messages.LABEL_INFO_TYPE, "label_info", qos(1, latched=True))
    peer.spin_until(lambda: told, "no label info")
    if messages.LABEL_INFO_TYPE is String:
        classes = json.loads(told[0].data)["class_map"]
        names = {entry["class_id"]: entry["class_name"] for entry in classes}
    else:
        names = {entry.class_id: entry.class_name for entry in told[0].class_map}
    assert names[0] == "no lane"
    assert names[7] == "lane 7"
    assert set(names) == set(range(256))


def test_the_newest_frame_wins_and_every_frame_is_accounted_for(start_node: StartNode, model: Path) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    burst = 40
    image = two_lane_road(720, 1280)
    step = SECOND // 30  # of a camera; stamps that lie seconds apart, as where some are lost on their way, are doubted
    for number in range(1, burst):
        peer.publish(image, number * step)
    peer.exchange(image, burst * step, masks)
    stamps = [messages.nanoseconds(mask.header.stamp) for mask in masks]
    assert stamps == sorted(set(stamps))
    health = peer.wait_for_health(lambda h: int(h["processed"]) == len(masks), "masks and count differ")
    assert int(health["received"]) == int(health["processed"]) + int(health["dropped"])
    assert int(health["received"]) <= burst
    assert health["dropped"] == health["dropped_stale"]


def test_lanes_of_low_confidence_are_left_out(start_node: StartNode, model: Path) -> None:
    image = two_lane_road()
    image[100:, 60:80] = 40
    lanes = rtseg.load(model)(Frame(image))
    least = float((lanes.confidence.min() + lanes.confidence.max()) / 2)
    peer = start_node(min_confidence=least)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    got = mask_of(peer.exchange(image, SECOND, masks))
    kept = lanes.ids[lanes.confidence >= least]
    np.testing.assert_array_equal(got, np.where(np.isin(lanes.mask, kept), lanes.mask, 0))


def test_the_executable_is_the_built_one(start_node: StartNode, workspace: Path) -> None:
    peer = start_node()
    peer.wait_until_listening()
    maps = Path(f"/proc/{peer.process.child.pid}/environ").read_bytes().decode()
    assert str(workspace / "install") in maps
    assert peer.get_parameters("model", "transport")[1].string_value == "auto"


def test_a_remapped_image_takes_its_companions_along(start_node: StartNode) -> None:
    peer = start_node("image:=front/image_raw", mount_height=1.4, silence_warning=3600.0)
    peer.node.destroy_publisher(peer.images)
    images = peer.node.create_publisher(CompressedImage, "front/image_raw/compressed", qos(5))
    infos = peer.node.create_publisher(CameraInfo, "front/camera_info", qos(1))
    clouds = peer.listen(PointCloud2, "lane_points")
    peer.wait_until_listening(images)
    info = CameraInfo(width=256, height=144, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [200.0, 0.0, 128.0, 0.0, 200.0, 30.0, 0.0, 0.0, 1.0]
    stamps = itertools.count(1)

    def send_both() -> None:
        infos.publish(info)
        images.publish(messages.to_jpeg(two_lane_road(), 95, header(next(stamps) * SECOND)))

    peer.insist(send_both, lambda: clouds, every=1.0, what="no points")
    assert clouds[0].width > 10


def test_companions_remapped_by_name_go_where_they_are_sent(start_node: StartNode) -> None:
    peer = start_node("image:=front/image_raw", "image/compressed:=elsewhere", transport="compressed")
    peer.node.destroy_publisher(peer.images)
    images = peer.node.create_publisher(CompressedImage, "elsewhere", qos(5))
    peer.wait_until_listening(images)
