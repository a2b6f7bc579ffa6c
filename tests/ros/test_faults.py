"""Bad frames, silent cameras, wrong topics and QoS: counted, told, survived."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rtseg_ros.messages import to_image
from sensor_msgs.msg import CompressedImage, Image

import rtseg
from rtseg.frame import Frame
from tests.ros.harness import Peer, header, mask_of, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
WARN, ERROR = 1, 2
StartNode = Callable[..., Peer]


def _broken(name: str) -> Image:
    message = to_image(two_lane_road(), "bgr8", header(7 * SECOND))
    if name == "zero size":
        message.height = message.width = message.step = 0
        message.data = []
    elif name == "no data":
        message.data = []
    elif name == "truncated":
        message.data = message.data[:-1000]
    elif name == "surplus":
        message.data = message.data + message.data
    elif name == "short step":
        message.step = 10
    elif name == "long step":
        message.step *= 2
    elif name == "unknown encoding":
        message.encoding = "32FC1"
    elif name == "no encoding":
        message.encoding = ""
    elif name == "binary encoding":
        message.encoding = "\x01é\u2028"
    elif name == "huge size":
        message.height = message.width = 2**32 - 1
        message.step = 2**32 - 1
    elif name == "one pixel":
        message = to_image(np.zeros((1, 1, 3), np.uint8), "bgr8", header(7 * SECOND))
    return message


BROKEN = [
    "zero size",
    "no data",
    "truncated",
    "surplus",
    "short step",
    "long step",
    "unknown encoding",
    "no encoding",
    "binary encoding",
    "huge size",
    "one pixel",
]


def test_broken_frames_are_counted_and_the_good_ones_between_them_served(start_node: StartNode, model: Path) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    offline = rtseg.load(model)
    image = two_lane_road()
    for count, name in enumerate(BROKEN, start=1):
        peer.images.publish(_broken(name))
        # A good frame that overtook the broken one in the mailbox would make it stale, not invalid.
        peer.spin_for(0.1)
        got = peer.exchange(image, 8 * SECOND + count, masks)
        expected = offline(Frame(image, 8 * SECOND + count)).mask
        np.testing.assert_array_equal(mask_of(got), expected, err_msg=name)
    health = peer.wait_for_health(lambda h: h["processed"] == str(len(BROKEN)), "frames not counted")
    assert health["dropped_invalid"] == health["dropped"] == str(len(BROKEN))
    assert len(masks) == len(BROKEN)
    assert health["level"] == WARN
    assert "expected" in health["last_fault"]
    assert "Traceback" not in peer.process.output()


def test_a_stream_of_broken_frames_is_an_error(start_node: StartNode) -> None:
    peer = start_node()
    peer.wait_until_listening()
    peer.images.publish(_broken("truncated"))
    health = peer.wait_for_health(lambda h: h["dropped_invalid"] == "1", "not counted")
    assert health["level"] == ERROR
    assert "bytes" in health["message"]


def test_broken_compressed_frames_are_counted(start_node: StartNode) -> None:
    peer = start_node(transport="compressed")
    publisher = peer.node.create_publisher(CompressedImage, "image/compressed", qos(5))
    peer.wait_for_state("active")
    peer.spin_until(publisher.get_subscription_count, what="not subscribed")
    peer.spin_for(0.3)
    broken = [b"", b"\xff\xd8\xff\xe0 no picture", b"\x89PNG\r\n\x1a\n", bytes(1000)]
    for count, data in enumerate(broken, start=1):
        publisher.publish(CompressedImage(header=header(count * SECOND), format="jpeg", data=data))
        peer.spin_for(0.1)
    peer.wait_for_health(lambda h: h["dropped_invalid"] == str(len(broken)), "not counted")


def test_stamps_that_jump_back_start_the_ids_anew(start_node: StartNode, model: Path) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    image = two_lane_road()
    fresh = rtseg.load(model)(Frame(image)).mask
    for stamp in (50, 51, 52):
        peer.exchange(np.roll(image, 90, axis=1), stamp * SECOND, masks)
    again = peer.exchange(image, 10 * SECOND, masks)
    np.testing.assert_array_equal(mask_of(again), fresh)
    peer.exchange(image, 11 * SECOND, masks)
    health = peer.wait_for_health(lambda h: h["processed"] == "5", "frames not counted")
    assert health["stamps_backwards"] == "1"
    assert health["dropped"] == "0"


def test_a_silent_camera_is_told_with_its_cure(start_node: StartNode) -> None:
    peer = start_node(silence_warning=1.0)
    peer.wait_until_listening()
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "silence not told")
    assert "publisher(s) matched" in health["message"]
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" in health["message"]
    masks = peer.listen(Image, "lane_mask")
    peer.spin_for(0.5)
    peer.exchange(two_lane_road(), SECOND, masks)
    peer.wait_for_health(lambda h: h["level"] == 0, "the warning stays")
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "second silence not told")
    assert "the camera has stopped" in health["message"]


def test_an_absent_camera_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=1.0)
    peer.node.destroy_publisher(peer.images)
    peer.wait_for_state("active")
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "silence not told")
    assert "nothing publishes it" in health["message"]
    assert f"{peer.namespace}/image" in health["message"]


def test_another_message_type_on_the_topic_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=1.0)
    peer.node.destroy_publisher(peer.images)
    peer.node.create_publisher(CompressedImage, "image", qos(1))
    peer.wait_for_state("active")
    health = peer.wait_for_health(lambda h: h["level"] == WARN and "carries" in h["message"], "wrong type not told")
    assert "sensor_msgs/msg/CompressedImage" in health["message"]


def test_incompatible_qos_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=60.0)  # the conflict alone is to be told, however slow the machine
    peer.wait_until_listening()
    never = peer.listen(Image, "lane_mask", qos(1, latched=True))
    masks = peer.listen(Image, "lane_mask", qos(1, reliable=False))
    peer.spin_for(0.5)
    for stamp in range(1, 4):
        peer.exchange(two_lane_road(), stamp * SECOND, masks)
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "conflict not told")
    assert "DURABILITY" in health["message"]
    assert f"{peer.namespace}/lanes/lane_mask" in health["message"]
    assert "incompatible" in peer.process.output()
    # `never` and `masks` share a list: what came, came to the best-effort subscriber alone.
    assert never is masks
    assert [mask.header.stamp.sec for mask in masks] == [1, 2, 3]
