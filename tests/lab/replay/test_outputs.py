"""Overlays, videos and result bags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from rtseg.camera import Camera, Mount
from rtseg.errors import ImageError, MediaError
from rtseg.frame import Frame
from rtseg.lab.replay.result_bag import ResultBag
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lanes import GroundPlane
from rtseg.media import draw_instances, draw_lanes, open_frames
from rtseg.media.overlay import color_of
from rtseg.results import Instances, Lanes
from tests.media.recordings import picture


def lanes_of(height: int = 48, width: int = 64, ids: tuple[int, ...] = (3, 1), stamp: int = 0) -> Lanes:
    mask = np.zeros((height, width), np.uint8)
    lines = []
    for i, identity in enumerate(ids):
        x = (i + 1) * width // (len(ids) + 1)
        mask[height // 2 :, max(x - 5, 0) : x + 6] = identity
        y = np.arange(height // 2, height, dtype=np.float32)
        lines.append(np.stack([np.full_like(y, x), y], axis=1))
    confidence = np.linspace(0.9, 0.5, len(ids)).astype(np.float32)
    return Lanes(mask, np.array(ids, np.int32), confidence, tuple(lines), stamp, "cam", {"infer": 8.0, "decode": 2.0})


def test_overlay_keeps_the_image_and_touches_only_what_it_draws() -> None:
    image = picture(0, 360, 640)
    before = image.copy()
    lanes = lanes_of(360, 640)
    drawn = draw_lanes(image, lanes, caption="")
    assert np.array_equal(image, before)
    changed = np.any(drawn != image, axis=2)
    assert changed[lanes.mask > 0].mean() > 0.95
    assert not changed[:150].any()
    assert np.any(draw_lanes(image, lanes)[:60] != drawn[:60]), "the legend is on by default"


def test_an_id_has_the_same_color_whatever_else_is_there() -> None:
    image = np.zeros((360, 640, 3), np.uint8)
    for ids in [(7,), (2, 7), (9, 7, 1)]:
        lanes = lanes_of(360, 640, ids)
        drawn = draw_lanes(image, lanes, caption="")
        where = (lanes.mask == 7) & (np.arange(360)[:, None] < 260)
        assert (np.abs(drawn[where].astype(int) - np.array(color_of(7)) // 2).max(axis=1) <= 1).any()
    assert len({color_of(i) for i in range(1, 13)}) == 12


@pytest.mark.parametrize("ids", [(), (1,), tuple(range(1, 40)), (255,)])
@pytest.mark.parametrize("size", [(2, 2), (31, 17), (480, 640)])
def test_overlay_of_any_number_and_size(ids: tuple[int, ...], size: tuple[int, int]) -> None:
    assert draw_lanes(np.zeros((*size, 3), np.uint8), lanes_of(*size, ids)).shape == (*size, 3)


def test_overlay_of_short_lines_and_read_only_images() -> None:
    lanes = lanes_of()
    lanes = Lanes(lanes.mask, lanes.ids, lanes.confidence, (np.zeros((0, 2), np.float32), np.ones((1, 2), np.float32)))
    image = np.frombuffer(bytes(48 * 64 * 3), np.uint8).reshape(48, 64, 3)
    assert draw_lanes(image, lanes).flags.writeable
    with pytest.raises(ImageError):
        draw_lanes(image[..., 0], lanes)


def instances_of() -> Instances:
    labels = np.zeros((48, 64), np.int32)
    labels[5:20, 5:20], labels[25:40, 30:60] = 1, 2
    boxes = np.array([[5, 5, 20, 20], [30, 25, 60, 40]], np.float32)
    return Instances(
        labels, np.array([4, 300]), np.array([0, 9]), np.array([0.9, 0.4]), boxes, np.array([225, 450]),
        np.array([[12, 12], [45, 32]], np.float32),
    )  # fmt: skip


def test_instances_are_drawn() -> None:
    drawn = draw_instances(np.zeros((48, 64, 3), np.uint8), instances_of(), ("car",), caption="")
    assert drawn[15, 10].any()
    assert drawn[35, 45].any()
    assert not drawn[45, 5].any()


def test_masks_have_the_color_of_their_boxes_whatever_their_ids() -> None:
    one = instances_of()
    large = replace(one, labels=np.kron(one.labels, np.ones((10, 10), np.int32)), boxes=one.boxes * 10)
    for ids in ((4, 300), (252, 253), (255, 256), (65_535, 65_530)):
        drawn = draw_instances(np.zeros((480, 640, 3), np.uint8), replace(large, ids=np.array(ids)), caption="")
        for identity, inside in zip(ids, ((150, 125), (350, 450)), strict=True):
            np.testing.assert_allclose(drawn[inside], np.array(color_of(identity)) / 2, atol=1)


def test_a_score_that_is_not_known_is_left_out() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    one = instances_of()
    large = replace(one, labels=np.kron(one.labels, np.ones((10, 10), np.int32)), boxes=one.boxes * 10)
    known = draw_instances(image, large, ("car",), caption="")
    unknown = draw_instances(image, replace(large, scores=np.full(2, np.nan, np.float32)), ("car",), caption="")
    assert (known != unknown).any()
    assert (unknown.any(axis=2).sum(), known.any(axis=2).sum()) > (0, 0)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (2, 2)])
@pytest.mark.parametrize("fps", [10, 29.97])
def test_video_round_trip(tmp_path: Path, size: tuple[int, int], fps: float) -> None:
    path = tmp_path / "deep" / "er" / "a.mp4"
    with VideoWriter(path, fps, size) as writer:
        for i in range(8):
            writer.write(picture(i, *size))
        assert not path.exists(), "an unfinished file does not carry the name"
    with open_frames(path) as source:
        frames = list(source)
        assert source.fps == pytest.approx(fps, abs=0.01)
    assert len(frames) == 8
    for i, frame in enumerate(frames):
        inner = frame.image[: size[0], : size[1]].astype(int)
        assert np.abs(inner - picture(i, *size)).mean() < (40 if size == (2, 2) else 15)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    def write_two_sizes() -> None:
        with VideoWriter(tmp_path / "a.mp4", 10, (48, 64)) as writer:
            writer.write(picture(0))
            writer.write(picture(0, 24, 32))

    with pytest.raises(MediaError, match=r"images of 64x48 .* got 32x24"):
        write_two_sizes()
    assert list(tmp_path.iterdir()) == []


def test_a_video_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="expected to write"):
        VideoWriter(tmp_path / "file" / "a.mp4", 10, (48, 64))


TOPICS = {"/camera/image/compressed", "/lanes/lane_mask", "/lanes/lane_pixels", "/lanes/overlay/compressed"}


def write_result(path: Path, frames: int = 5) -> None:
    with ResultBag(path) as bag:
        for i in range(frames):
            stamp = 1_700_000_000_000_000_000 + i * 33_000_000
            frame = Frame(picture(i), stamp, "camera_front")
            lanes = lanes_of(stamp=stamp)
            bag.write(frame, lanes, draw_lanes(frame.image, lanes))
        assert not path.exists()


def test_result_bag_is_one_file_that_rosbags_reads(tmp_path: Path) -> None:
    path = tmp_path / "out" / "result.mcap"
    write_result(path)
    assert [p.name for p in path.parent.iterdir()] == ["result.mcap"]
    with open_frames(path, topic="/lanes/lane_mask") as source:
        frames = list(source)
    assert len(frames) == 5
    for i, frame in enumerate(frames):
        assert np.array_equal(frame.image[..., 0], lanes_of().mask)
        assert frame.stamp == 1_700_000_000_000_000_000 + i * 33_000_000
        assert frame.frame_id == "camera_front"
    with open_frames(path, topic="/camera/image") as source:
        assert np.abs(next(iter(source)).image.astype(int) - picture(0)).mean() < 6


def test_result_bag_is_sound_for_the_reference_reader(tmp_path: Path) -> None:
    path = tmp_path / "result.mcap"
    write_result(path)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 20
        assert {c.topic for c in summary.channels.values()} == TOPICS
        assert all(c.message_encoding == "cdr" for c in summary.channels.values())
        assert all(s.encoding == "ros2msg" and s.data for s in summary.schemas.values())
        assert summary.chunk_indexes
        decoded = list(reader.iter_decoded_messages())
    assert len(decoded) == 20
    for schema, _, message, ros in decoded:
        assert ros.header.stamp.sec * 10**9 + ros.header.stamp.nanosec == message.log_time
        if schema.name == "sensor_msgs/msg/Image":
            assert (ros.encoding, ros.height, ros.width, ros.step) == ("mono8", 48, 64, 64)


def test_result_bag_of_instances_and_of_nothing(tmp_path: Path) -> None:
    with ResultBag(tmp_path / "a.mcap") as bag:
        bag.write(Frame(picture(0), 5), instances_of())
    with (tmp_path / "a.mcap").open("rb") as file:
        decoded = {
            channel.topic: ros
            for _, channel, _, ros in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
        }
    ids, kinds = decoded["/instances/instance_mask"], decoded["/instances/class_mask"]
    assert (ids.encoding, ids.step, kinds.encoding, kinds.step) == ("16UC1", 128, "mono8", 64)
    labels = instances_of().labels
    np.testing.assert_array_equal(np.frombuffer(ids.data, "<u2").reshape(48, 64), np.array([0, 4, 300])[labels])
    np.testing.assert_array_equal(np.frombuffer(kinds.data, np.uint8).reshape(48, 64), np.array([0, 1, 10])[labels])
    one, other = decoded["/instances/detections"].detections
    assert [(each.id, each.results[0].hypothesis.class_id) for each in (one, other)] == [("4", "1"), ("300", "10")]
    assert other.results[0].hypothesis.score == pytest.approx(0.4)
    box = other.bbox
    assert (box.center.position.x, box.center.position.y, box.size_x, box.size_y) == (45.0, 32.5, 30.0, 15.0)
    with ResultBag(tmp_path / "b.mcap"):
        pass
    with (tmp_path / "b.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == 0


def test_result_bag_of_lanes_and_instances_of_one_frame(tmp_path: Path) -> None:
    with ResultBag(tmp_path / "a.mcap") as bag:
        bag.write(Frame(picture(0), 5), (lanes_of(), instances_of()), picture(1))
    with (tmp_path / "a.mcap").open("rb") as file:
        topics = sorted(channel.topic for _, channel, _ in make_reader(file).iter_messages())
    assert topics == [
        "/camera/image/compressed",
        "/instances/class_mask",
        "/instances/detections",
        "/instances/instance_mask",
        "/lanes/lane_mask",
        "/lanes/lane_pixels",
        "/perception/overlay/compressed",
    ]


def test_a_failed_result_bag_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), ResultBag(tmp_path / "a.mcap"):
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_lanes_become_line_strips_on_the_ground(tmp_path: Path) -> None:
    matrix = np.array([[600.0, 0, 319.5], [0, 600.0, 179.5], [0, 0, 1]])
    camera = Camera(640, 360, matrix, mount=Mount(height=1.2, pitch=0.1))
    lanes = lanes_of(360, 640, (4, 2), stamp=10**9)
    with ResultBag(tmp_path / "a.mcap", camera.scaled(1280, 720)) as bag:
        bag.write(Frame(picture(0, 360, 640), 10**9, "cam"), lanes)
    with (tmp_path / "a.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        by_topic = {channel.topic: ros for _, channel, _, ros in reader.iter_decoded_messages()}
    assert (by_topic["/camera/camera_info"].width, by_topic["/camera/camera_info"].k[0]) == (640, pytest.approx(600))
    clear, *others = by_topic["/lanes/lanes"].markers
    assert clear.action == 3
    strips = [marker for marker in others if marker.ns == "lanes"]
    assert [(s.id, s.text) for s in strips] == [(4, "left"), (2, "right")]
    assert [s.ns for s in others if s not in strips] == ["own_lane"]
    for strip, line in zip(strips, lanes.polylines, strict=True):
        assert (strip.header.frame_id, strip.header.stamp.sec, strip.type) == ("base_link", 1, 4)
        points = np.array([(p.x, p.y, p.z) for p in strip.points])
        expected = GroundPlane(camera).project(line)
        expected = expected[(expected[:, 0] > 0) & (expected[:, 0] < 80)]
        assert np.allclose(points, expected, atol=1e-6)
    assert strips[0].points[-1].y > strips[1].points[-1].y, "y is to the left"
