"""Bad frames, silent cameras, wrong topics and QoS: counted, told, survived."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rtseg_ros.messages import to_image
from sensor_msgs.msg import CompressedImage, Image

import rtseg
from rtseg.frame import Frame
from tests.ros.harness import LOST, Peer, header, mask_of, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
OK, WARN, ERROR = 0, 1, 2
NEVER = 3600.0
"""For `silence_warning`, where something else is to be told, however slow the machine."""
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
        # A good frame that overtook the broken one in the mailbox would make it stale, not invalid: each is waited for.
        peer.insist(
            lambda name=name: peer.images.publish(_broken(name)),
            lambda count=count: peer.health["dropped_invalid"] == str(count),
            LOST,
            f"{name}: not counted",
        )
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
    peer = start_node(silence_warning=NEVER)
    peer.wait_until_listening()
    peer.insist(
        lambda: peer.images.publish(_broken("truncated")),
        lambda: peer.health["dropped_invalid"] == "1",
        LOST,
        "not counted",
    )
    assert peer.health["level"] == ERROR
    assert "bytes" in peer.health["message"]


def test_broken_compressed_frames_are_counted(start_node: StartNode) -> None:
    peer = start_node(transport="compressed")
    publisher = peer.node.create_publisher(CompressedImage, "image/compressed", qos(5))
    peer.wait_until_listening(publisher)
    broken = [b"", b"\xff\xd8\xff\xe0 no picture", b"\x89PNG\r\n\x1a\n", bytes(1000)]
    for count, data in enumerate(broken, start=1):
        message = CompressedImage(header=header(count * SECOND), format="jpeg", data=data)
        peer.insist(
            lambda message=message: publisher.publish(message),
            lambda count=count: peer.health["dropped_invalid"] == str(count),
            LOST,
            f"{data!r:.20}: not counted",
        )


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
    # A report comes once a second, and one frame keeps the warning away no longer: the camera has to go on.
    stamps = itertools.count(1)
    peer.insist(
        lambda: peer.publish(two_lane_road(), next(stamps) * SECOND),
        lambda: peer.health["level"] == OK,
        every=0.1,
        what="the warning stays",
    )
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "second silence not told")
    assert "the camera has stopped" in health["message"]


def test_an_absent_camera_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=1.0)
    peer.node.destroy_publisher(peer.images)
    peer.wait_for_state("active")
    # Until the node has learnt that the publisher is gone, it may say that one is silent.
    health = peer.wait_for_health(
        lambda h: h["level"] == WARN and "nothing publishes it" in h["message"], "absence not told"
    )
    assert f"{peer.namespace}/image" in health["message"]


def test_another_message_type_on_the_topic_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=1.0)
    peer.node.destroy_publisher(peer.images)
    peer.node.create_publisher(CompressedImage, "image", qos(1))
    peer.wait_for_state("active")
    health = peer.wait_for_health(lambda h: h["level"] == WARN and "carries" in h["message"], "wrong type not told")
    assert "sensor_msgs/msg/CompressedImage" in health["message"]


def test_incompatible_qos_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER)
    never = peer.listen(Image, "lane_mask", qos(1, latched=True))
    masks = peer.listen(Image, "lane_mask", qos(1, reliable=False))
    peer.wait_until_listening()
    for stamp in range(1, 4):
        peer.exchange(two_lane_road(), stamp * SECOND, masks)
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "conflict not told")
    assert "DURABILITY" in health["message"]
    assert f"{peer.namespace}/lanes/lane_mask" in health["message"]
    assert "incompatible" in peer.process.output()
    # `never` and `masks` share a list: what came, came to the best-effort subscriber alone.
    assert never is masks
    assert [mask.header.stamp.sec for mask in masks] == [1, 2, 3]
