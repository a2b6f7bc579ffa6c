"""Bad frames, silent cameras, wrong topics and QoS: counted, told, survived."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rtseg_ros.messages import nanoseconds, to_image
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


def test_pictures_that_memory_does_not_suffice_for_are_dropped_and_those_between_them_served(
    start_node: StartNode, model: Path
) -> None:
    peer = start_node(transport="compressed", silence_warning=NEVER)
    masks = peer.listen(Image, "lane_mask")
    publisher = peer.node.create_publisher(CompressedImage, "image/compressed", qos(5))
    peer.wait_until_listening(publisher)
    image = two_lane_road()
    expected = rtseg.load(model)(Frame(image)).mask
    large_image = np.zeros((4000, 5000, 3), np.uint8)  # 60 MB in 60 KB, of a size that is taken
    small, large = (cv2.imencode(".png", picture)[1].tobytes() for picture in (image, large_image))

    def send(data: bytes, stamp: int) -> None:
        publisher.publish(CompressedImage(header=header(stamp), format="png", data=data))

    def exchange(stamp: int) -> None:
        got = peer.insist(
            lambda: send(small, stamp), lambda: peer.with_stamp(stamp, masks), LOST, f"no mask for {stamp}"
        )
        np.testing.assert_array_equal(mask_of(got), expected)

    exchange(1 * SECOND)
    pages = int(Path(f"/proc/{peer.process.child.pid}/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + 32 * 2**20
    resource.prlimit(peer.process.child.pid, resource.RLIMIT_AS, (limit, limit))
    for count in range(1, 6):
        peer.insist(
            lambda count=count: send(large, (1 + count) * SECOND),
            lambda count=count: int(peer.health["dropped"]) >= count,
            LOST,
            "not counted",
        )
        assert peer.health["level"] != OK
        assert "allocate" in peer.health["last_fault"]
        exchange((1 + count) * SECOND + 1)
    assert "Traceback" not in peer.process.output()


def _send_wrong(peer: Peer, stamp: int, dropped: int) -> None:
    """Send a frame that is to be dropped for its stamp, and wait until it is counted."""
    peer.publish(two_lane_road(), stamp)
    peer.wait_for_health(lambda h: h["dropped_stamp"] == str(dropped), f"the frame of {stamp} not dropped")


def test_stamps_that_go_back_for_good_start_the_ids_anew(start_node: StartNode, model: Path) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    image = two_lane_road()
    fresh = rtseg.load(model)(Frame(image)).mask
    for stamp in (50, 51, 52):
        peer.exchange(np.roll(image, 90, axis=1), stamp * SECOND, masks)
    for count in (1, 2):
        _send_wrong(peer, 9 * SECOND + count, count)
    again = peer.exchange(image, 9 * SECOND + 3, masks)
    np.testing.assert_array_equal(mask_of(again), fresh)
    health = peer.wait_for_health(lambda h: h["processed"] == "4", "frames not counted")
    assert (health["stamps_backwards"], health["restarts"], health["dropped"]) == ("1", "1", "2")
    assert health["restarts_by_reason"] == "stamps went back (1)"
    assert health["level"] == WARN
    assert "ids start anew: stamps went back" in peer.process.output()


@pytest.mark.parametrize("wrong", [0, -30, 10**8], ids=["zero", "back", "ahead"])
def test_one_wrong_stamp_is_a_bad_frame_and_costs_no_id(start_node: StartNode, model: Path, wrong: int) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    offline = rtseg.load(model)
    start = 100
    for number in range(3):
        image, stamp = np.roll(two_lane_road(), 2 * number, axis=1), (start + number) * SECOND
        got = peer.exchange(image, stamp, masks)
        np.testing.assert_array_equal(mask_of(got), offline(Frame(image, stamp)).mask)
        _send_wrong(peer, (start + wrong) * SECOND if wrong else 0, number + 1)
    assert peer.health["restarts"] == "0"
    assert peer.health["processed"] == "3"
    assert peer.health["level"] == WARN
    assert "its stamp lies" in peer.health["message"]


def test_an_old_frame_is_dropped_and_nothing_of_it_published(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER, max_age=2.0)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    peer.insist(
        lambda: peer.publish(two_lane_road(), time.time_ns() - 10 * SECOND),
        lambda: int(peer.health["dropped_old"]) > 0,
        LOST,
        "not dropped",
    )
    health = peer.wait_for_health(lambda h: h["level"] == ERROR, "not told")
    assert "older than 2 s" in health["message"]
    assert not masks
    peer.insist(lambda: peer.publish(two_lane_road(), time.time_ns()), lambda: masks, 0.5, "no mask of a new one")
    assert peer.health["clocks_apart_s"] == "0.0"


def test_a_stopped_process_does_not_publish_what_it_finds_when_it_goes_on(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    peer.insist(lambda: peer.publish(two_lane_road(), time.time_ns()), lambda: masks, 0.5, "no mask")
    peer.spin_for(1.0)  # a mask that the middleware is writing when all stops goes out when it goes on
    peer.process.child.send_signal(signal.SIGSTOP)
    try:
        for _ in range(10):
            peer.publish(two_lane_road(), time.time_ns())
            peer.spin_for(0.05)
        last = time.time_ns()
        peer.spin_for(3.0)
        before = len(masks)
    finally:
        peer.process.child.send_signal(signal.SIGCONT)
    peer.spin_for(3.0)
    assert [m for m in masks[before:] if nanoseconds(m.header.stamp) <= last] == []


def test_stamps_of_another_clock_are_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    peer.exchange(two_lane_road(), 5 * SECOND, masks)
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "clocks not told")
    assert "behind this node's clock" in health["message"]


def test_use_sim_time_without_a_clock_is_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER, use_sim_time=True)
    masks = peer.listen(Image, "lane_mask")
    peer.spin_until(peer.images.get_subscription_count, "the node does not listen")
    peer.insist(lambda: peer.publish(two_lane_road(), time.time_ns()), lambda: masks, 0.5, "no mask")
    assert peer.spin_until(lambda: "no /clock comes" in peer.health_now(), "not told")


def test_two_cameras_on_a_topic_and_two_nodes_of_a_name_are_told(start_node: StartNode) -> None:
    peer = start_node(silence_warning=NEVER)
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    rival = peer.node.create_publisher(Image, "lanes/lane_mask", qos(1))
    peer.insist(
        lambda: peer.publish(two_lane_road(), time.time_ns()),
        lambda: masks and "another node publishes" in peer.health["message"],
        0.5,
        "no rival told",
    )
    peer.node.destroy_publisher(rival)
    peer.node.create_publisher(Image, "image", qos(1))
    peer.insist(
        lambda: peer.publish(two_lane_road(), time.time_ns()),
        lambda: "2 publishers on" in peer.health["message"],
        0.5,
        "no second camera told",
    )


def test_a_silent_camera_is_told_with_its_cure(start_node: StartNode) -> None:
    peer = start_node(silence_warning=1.0)
    peer.wait_until_listening()
    health = peer.wait_for_health(lambda h: h["level"] == WARN, "silence not told")
    assert "though 1 publisher matched" in health["message"]
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" in health["message"]
    # A report comes once a second, and one frame keeps the warning away no longer: the camera has to go on.
    peer.insist(
        lambda: peer.publish(two_lane_road(), time.time_ns()),
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
