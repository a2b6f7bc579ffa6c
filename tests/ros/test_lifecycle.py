"""Transitions, parameters and the end of the lane node's process."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from rtseg_ros.parameters import LaneParameters
from sensor_msgs.msg import Image

from tests.ros.harness import Peer
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
ERROR = 2
StartNode = Callable[..., Peer]


def test_it_goes_through_its_states_and_serves_frames_in_the_active_one(start_node: StartNode) -> None:
    peer = start_node(autostart=False)
    assert peer.state() == "unconfigured"
    masks = peer.listen(Image, "lane_mask")
    for round_ in range(2):
        assert peer.change_state("configure")
        assert peer.state() == "inactive"
        assert peer.images.get_subscription_count() == 0
        assert peer.change_state("activate")
        peer.wait_until_listening()
        # Stamps start again in the second round: no rewind, since activation begins a new stream.
        peer.exchange(two_lane_road(), (round_ * 10 + 1) * SECOND, masks)
        health = peer.wait_for_health(lambda h: h["processed"] == "1", "the count does not start anew")
        assert health["state"] == "active"
        assert health["stamps_backwards"] == "0"
        assert peer.change_state("deactivate")
        assert peer.state() == "inactive"
        peer.spin_until(lambda: peer.images.get_subscription_count() == 0, "still subscribed")
        peer.publish(two_lane_road(), (round_ * 10 + 2) * SECOND)
        peer.spin_for(0.3)
        assert masks[-1].header.stamp.sec == round_ * 10 + 1
        assert peer.change_state("cleanup")
        assert peer.state() == "unconfigured"
    assert peer.process.stop() == 0


@pytest.mark.slow
def test_fifty_cycles_leave_no_thread_no_descriptor_and_no_memory(start_node: StartNode) -> None:
    peer = start_node(autostart=False)
    masks = peer.listen(Image, "lane_mask")
    process = Path(f"/proc/{peer.process.child.pid}")
    held: list[tuple[int, int]] = []
    memory: list[int] = []
    for cycle in range(50):
        assert peer.change_state("configure")
        assert peer.change_state("activate")
        if cycle % 10 == 0:
            peer.wait_until_listening()
            peer.exchange(two_lane_road(), (cycle + 1) * SECOND, masks)
        assert peer.change_state("deactivate")
        assert peer.change_state("cleanup")
        threads = len(list((process / "task").iterdir()))
        held.append((threads, len(list((process / "fd").iterdir()))))
        memory.append(peer.process.private_bytes())
    # By the tenth cycle all pools have their size; DDS lets go of what belonged to a topic a moment later.
    for counts in zip(*held, strict=True):
        assert min(counts[30:]) <= min(counts[10:30]), held
    assert min(memory[40:]) - max(memory[10:20]) < 8 * 2**20, memory
    assert peer.process.stop() == 0


def test_a_transition_that_does_not_fit_the_state_is_refused(start_node: StartNode) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    assert not peer.change_state("configure")
    assert not peer.change_state("cleanup")
    assert peer.state() == "active"
    peer.exchange(two_lane_road(), SECOND, masks)


def test_shutdown_ends_in_the_final_state(start_node: StartNode) -> None:
    peer = start_node()
    peer.wait_until_listening()
    assert peer.change_state("shutdown")
    assert peer.state() == "finalized"
    assert peer.process.stop() == 0


BAD_PARAMETERS = {
    "device": "toaster",
    "backend": "abacus",
    "threads": -1,
    "transport": "carrier pigeon",
    "silence_warning": 0.0,
    "camera": "/no/such/camera.yaml",
    "min_confidence": 1.5,
    "overlay_width": "wide",
    "model": "no-such-model",
}


def test_bad_parameters_at_the_start_fail_the_transition_and_are_named_until_mended(
    start_node: StartNode, model: Path
) -> None:
    peer = start_node(**BAD_PARAMETERS)
    good = {field.name: field.default for field in fields(LaneParameters)} | {"model": str(model)}
    bad = set(BAD_PARAMETERS)
    while bad:
        health = peer.wait_for_health(lambda h: h["level"] == ERROR, "no error told")
        assert peer.state() == "unconfigured"
        named = {name for name in bad if name in health["message"] or str(BAD_PARAMETERS[name]) in health["message"]}
        assert len(named) == 1, health["message"]
        name = named.pop()
        bad.remove(name)
        peer.set_parameter(name, good[name])
        if bad:
            assert not peer.change_state("configure"), name
            peer.wait_for_health(lambda h, old=health["message"]: h["message"] != old, f"{name} is still named")
    assert peer.change_state("configure")
    assert peer.change_state("activate")
    peer.wait_until_listening()
    peer.wait_for_health(lambda h: h["state"] == "active" and h["level"] != ERROR, "the error stays")
    assert "Traceback" not in peer.process.output()
    assert peer.process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_code_0_in_the_midst_of_a_stream(start_node: StartNode, number: int) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    image = two_lane_road(720, 1280)
    stamps = itertools.count(1)
    peer.insist(lambda: peer.publish(image, next(stamps) * SECOND), lambda: masks, every=0.01, what="no mask")
    for _ in range(5):
        peer.publish(image, next(stamps) * SECOND)
    assert peer.process.stop(number) == 0
    own = [line for line in peer.process.output().splitlines() if "[RTPS_" not in line]  # Fast DDS has its own troubles
    assert not [line for line in own if "Traceback" in line or "Error" in line]
