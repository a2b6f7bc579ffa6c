"""Cameras that send H.264: masks of whole pictures alone, and what is lost is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rtseg_ros import lifecycle
from rtseg_ros.camera_input import IMAGE_TYPES, MISSING, FFMPEGPacket
from rtseg_ros.lanes import LanesNode
from sensor_msgs.msg import Image

import rtseg
from rtseg.frame import Frame
from rtseg.stream import MAX_IN_ORDER
from tests.ros.harness import PATIENCE, Peer, header, mask_of, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
START = 1_700_000_000_000_000_000
STEP = 33_000_000
GROUP = 5


def road(number: int) -> np.ndarray:
    return np.roll(two_lane_road(), 4 * number, axis=1)


def packets(count: int) -> list[dict[str, Any]]:
    """What ffmpeg_image_transport would send of a road; a key frame each `GROUP`."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    height, width = road(0).shape[:2]
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", Fraction(1, 30)
    encoder.gop_size = GROUP
    encoder.options = {"tune": "zerolatency", "crf": "5", "x264-params": "scenecut=0"}
    sent = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(road(number), format="bgr24")
        frame.pts = number
        (packet,) = encoder.encode(frame)
        sent.append(
            {
                "header": header(START + number * STEP),
                "width": width,
                "height": height,
                "encoding": "h264;yuv420p;bgr8;bgr8",
                "pts": number,
                "flags": int(packet.is_keyframe),
                "data": bytes(packet),
            }
        )
    return sent


@pytest.fixture
def node(dds: dict[str, str], model: Path) -> Iterator[LanesNode]:
    made = LanesNode()
    made.set_parameters([Parameter("model", value=str(model)), Parameter("max_age", value=0.0)])
    yield made
    made.close()
    made.destroy_node()


def accounted(node: LanesNode) -> int:
    """Frames that were processed or dropped."""
    counts = node.statistics.snapshot().counts
    return counts.processed + sum(counts.dropped.values())


def test_only_whole_pictures_get_a_mask(node: LanesNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the fourth packet on, without the eighth: the first key frame is the sixth, the next the eleventh."""
    assert lifecycle.start(node)
    shown: list[Frame] = []
    monkeypatch.setattr(node.tasks[0], "publish", lambda message, frame, result: shown.append(frame))
    for number, packet in enumerate(packets(13)):
        if number < 3 or number == 7:
            continue
        before = accounted(node)
        node._receive(SimpleNamespace(**packet))
        end = time.monotonic() + PATIENCE
        while accounted(node) == before:
            assert time.monotonic() < end
            time.sleep(0.002)
    assert [round(((frame.stamp or 0) - START) / STEP) for frame in shown] == [5, 6, 10, 11, 12]
    for frame in shown:
        number = round(((frame.stamp or 0) - START) / STEP)
        assert np.abs(frame.image.astype(int) - road(number)).mean() < 4
    assert node.statistics.snapshot().counts.dropped["invalid"] == 4


def test_packets_that_wait_for_the_worker_are_decoded_in_order_and_given_up_only_with_a_word(
    node: LanesNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is busy: three packets wait, of which the newest picture counts; then more than may wait."""
    assert lifecycle.start(node)
    shown: list[Frame] = []
    free = threading.Semaphore(0)

    def publish(message: Any, frame: Frame, result: Any) -> None:
        shown.append(frame)
        assert free.acquire(timeout=PATIENCE)

    def wait_for(number: int) -> None:
        end = time.monotonic() + PATIENCE
        while not shown or shown[-1].stamp != START + number * STEP:
            assert time.monotonic() < end
            time.sleep(0.002)

    monkeypatch.setattr(node.tasks[0], "publish", publish)
    sent = [SimpleNamespace(**packet) for packet in packets(MAX_IN_ORDER + 8)]
    node._receive(sent[0])
    wait_for(0)
    for packet in sent[1:4]:
        node._receive(packet)
    free.release()
    wait_for(3)
    for packet in sent[4 : MAX_IN_ORDER + 6]:  # one that is too many, and one behind it
        node._receive(packet)
    free.release(4)
    for packet in sent[MAX_IN_ORDER + 6 :]:
        node._receive(packet)
    wait_for(MAX_IN_ORDER + 7)
    numbers = [round(((frame.stamp or 0) - START) / STEP) for frame in shown]
    assert numbers[:2] == [0, 3]
    assert not set(range(4, MAX_IN_ORDER + 5)) & set(numbers)
    for frame, number in zip(shown, numbers, strict=True):
        assert np.abs(frame.image.astype(int) - road(number)).mean() < 4
    node._stop()
    counts = node.statistics.snapshot().counts
    assert counts.received == MAX_IN_ORDER + 8 == counts.processed + sum(counts.dropped.values())
    assert counts.dropped["stale"] >= 2 + MAX_IN_ORDER + 1


@pytest.mark.skipif(FFMPEGPacket is not None, reason="ffmpeg_image_transport_msgs is installed")
def test_a_package_that_is_missing_is_named(node: LanesNode) -> None:
    node.set_parameters([Parameter("transport", value="ffmpeg")])
    assert not lifecycle.start(node)
    assert MISSING in node._error


@pytest.mark.skipif(FFMPEGPacket is None, reason="ffmpeg_image_transport_msgs is not installed, which has no wheel")
def test_packets_over_dds_are_found_and_give_the_masks_of_their_pictures(
    start_node: Callable[..., Peer], model: Path
) -> None:
    peer = start_node(max_age=0.0, silence_warning=3600.0)
    peer.node.destroy_publisher(peer.images)
    publisher = peer.node.create_publisher(FFMPEGPacket, "image/ffmpeg", qos(50))
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening(publisher)
    for each in packets(2 * GROUP):
        publisher.publish(FFMPEGPacket(**each))
        peer.spin_for(0.1)
    peer.spin_until(lambda: masks, "no mask")
    pipeline = rtseg.load(model)
    for mask in masks:
        stamp = mask.header.stamp.sec * 10**9 + mask.header.stamp.nanosec
        expected = pipeline(Frame(road(round((stamp - START) / STEP)))).mask
        assert ((mask_of(mask) > 0) == (expected > 0)).mean() > 0.99


@pytest.mark.skipif(FFMPEGPacket is None, reason="ffmpeg_image_transport_msgs is not installed, which has no wheel")
def test_a_topic_that_cannot_be_taken_is_told(node: LanesNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lifecycle.start(node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    publisher = node.create_publisher(FFMPEGPacket, "image/ffmpeg", 1)
    monkeypatch.setattr("rtseg_ros.camera_input.FFMPEGPacket", None)
    monkeypatch.setitem(IMAGE_TYPES, "ffmpeg", None)
    end = time.monotonic() + PATIENCE
    while not node._camera.fault:
        assert time.monotonic() < end
        executor.spin_once(timeout_sec=0.05)
    assert MISSING in node._reports.statuses()[0].message
    node.destroy_publisher(publisher)
    executor.shutdown()
