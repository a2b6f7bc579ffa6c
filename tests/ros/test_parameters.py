"""Parameters are judged when they are set, by the service that ``ros2 param set`` calls."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.parameter import Parameter
from rtseg_ros import parameters
from rtseg_ros.messages import LABEL_INFO_TYPE
from rtseg_ros.parameters import LATER, LIVE, LaneParameters
from sensor_msgs.msg import Image
from std_msgs.msg import String

import rtseg
from rtseg.errors import RtsegError
from rtseg.frame import Frame
from rtseg.runtime import find_model
from tests.ros.harness import Peer, mask_of, qos
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
StartNode = Callable[..., Peer]

ABSURD: list[tuple[str, object]] = [
    *(
        (name, value)
        for name in ("min_confidence", "max_age", "watchdog")
        for value in (math.nan, math.inf, -1.0, 1e300)
    ),
    *((name, value) for name in ("threads", "max_pixels", "overlay_width") for value in (-1, 2**63 - 1)),
    *(
        (name, value)
        for name in ("drop_warning", "min_confidence", "threads", "autostart")
        for value in ("high", [1, 2])
    ),
    ("overlay_quality", 0),
    ("overlay_quality", 85.5),
    ("autostart", 1),
    ("threads", True),
    ("model", 3),
    ("model", ""),
    ("model", "no-such-model"),
    ("model", "/etc/passwd"),
    ("model", "../../.."),
    ("model", "x" * 100_000),
    ("model", "\x1b]0;title\x07"),
    ("transport", "carrier pigeon"),
    ("camera", "/no/such/camera.yaml"),
    ("camera", __file__),
    ("vehicle_frame", ""),
    ("vehicle_frame", "/base_link"),
    ("vehicle_frame", "base link"),
    ("vehicle_frame", "base\nlink"),
    ("vehicle_frame", "x" * 1000),
    ("backend", "abacus"),
    ("device", "toaster"),
    ("device", "cuda:-1"),
]


def test_absurd_values_are_refused_with_a_reason_while_the_stream_goes_on(start_node: StartNode) -> None:
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    peer.wait_until_listening()
    names = [field.name for field in fields(LaneParameters)]
    before = peer.get_parameters(*names)
    for name, value in ABSURD:
        answer = peer.try_parameter(name, value)
        assert not answer.successful, (name, value)
        assert name in answer.reason
        assert len(answer.reason) <= parameters.LONGEST_REASON
        assert "\x1b" not in answer.reason
    assert not peer.try_parameter("min_confidense", 0.5).successful
    assert peer.get_parameters(*names) == before
    peer.exchange(two_lane_road(), SECOND, masks)
    assert "Traceback" not in peer.process.output()


def test_a_confidence_changes_what_is_published_at_once(start_node: StartNode, model: Path) -> None:
    lanes = rtseg.load(model)(Frame(two_lane_road(), SECOND))
    low, high = sorted(float(value) for value in lanes.confidence)
    peer = start_node()
    masks = peer.listen(Image, "lane_mask")
    told = peer.listen(LABEL_INFO_TYPE, "label_info", qos(1, latched=True))
    peer.wait_until_listening()
    assert set(np.unique(mask_of(peer.exchange(two_lane_road(), SECOND, masks)))) == {0, *lanes.ids}
    peer.set_parameter("min_confidence", 1)  # an integer is a number too
    assert not mask_of(peer.exchange(two_lane_road(), 2 * SECOND, masks)).any()
    peer.spin_until(lambda: told and _threshold(told[-1]) == 1.0, "the new threshold is not told")
    peer.set_parameter("min_confidence", (low + high) / 2)
    kept = {int(id_) for id_, value in zip(lanes.ids, lanes.confidence, strict=True) if value >= (low + high) / 2}
    assert set(np.unique(mask_of(peer.exchange(two_lane_road(), 3 * SECOND, masks)))) == {0, *kept}


def _threshold(message: Any) -> float:
    return float(json.loads(message.data)["threshold"] if LABEL_INFO_TYPE is String else message.threshold)


def test_limits_change_at_once(start_node: StartNode) -> None:
    peer = start_node(silence_warning=3600.0)
    peer.wait_until_listening()
    peer.wait_for_health(lambda h: h["level"] == 0, "not sound at first")
    peer.set_parameter("silence_warning", 0.1)
    peer.wait_for_health(lambda h: h["level"] == 1 and "no frame" in h["message"], "the limit has not changed")
    peer.set_parameter("silence_warning", 3600.0)
    peer.wait_for_health(lambda h: h["level"] == 0, "the limit has not changed back")


def test_what_takes_effect_later_says_so(start_node: StartNode) -> None:
    peer = start_node()
    peer.wait_until_listening()
    peer.set_parameter("threads", 1)
    peer.wait_for_health(lambda h: h["parameters_not_in_effect"] == "threads", "it is not told in the diagnostics")
    assert "parameter threads takes effect when the node is configured" in peer.process.output()
    for transition in ("deactivate", "cleanup", "configure"):
        assert peer.change_state(transition)
    peer.wait_for_health(lambda h: h["parameters_not_in_effect"] == "", "it is still told")


def test_descriptors_carry_text_range_and_when_it_takes_effect(start_node: StartNode) -> None:
    peer = start_node(min_confidence=7.5)  # does not keep the others from being described, nor the node from starting
    names = [field.name for field in fields(LaneParameters)]
    for field, told in zip(fields(LaneParameters), peer.describe_parameters(*names), strict=True):
        setting = parameters.setting_of(field)
        assert told.description == setting.text
        assert told.additional_constraints == (LIVE if setting.live else LATER)
        bounds = [(each.from_value, each.to_value) for each in (*told.integer_range, *told.floating_point_range)]
        wanted = [(setting.low, setting.high)] if setting.low is not None else []
        assert bounds == ([] if field.name == "min_confidence" else wanted)
    peer.set_parameter("min_confidence", 0.5)
    assert peer.change_state("configure")
    (told,) = peer.describe_parameters("min_confidence")
    assert (told.floating_point_range[0].from_value, told.floating_point_range[0].to_value) == (0.0, 1.0)


def test_a_slip_in_a_parameter_file_is_told(start_node: StartNode, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    min_confidense: 0.5\n    camera_matrix.rows: 3\n    max_age: 2.0\n")
    peer = start_node(params_file=file)
    peer.wait_for_state("active")
    output = peer.process.output()
    assert "parameter min_confidense is not known and has no effect; did you mean min_confidence?" in output
    assert "parameter camera_matrix.rows is not known and has no effect" in output
    assert "max_age is not known" not in output
    assert "use_sim_time is not known" not in output


values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=20))
names = st.sampled_from([field.name for field in fields(LaneParameters)])


@given(st.lists(st.tuples(names, values), max_size=3, unique_by=lambda pair: pair[0]))
def test_what_is_accepted_can_be_configured(changes: list[tuple[str, object]]) -> None:
    judgment = parameters.judge(LaneParameters, [Parameter(name, value=value) for name, value in changes])
    if judgment.answer.successful:
        taken = LaneParameters(**dict(changes))  # type: ignore[arg-type]
        assert {*judgment.live, *judgment.later} == {name for name, _ in changes}
        assert all(getattr(taken, name) == value for name, value in judgment.live.items())
    else:
        assert judgment.answer.reason
        assert not judgment.live
        with pytest.raises(RtsegError):
            find_model(LaneParameters(**dict(changes)).model)  # type: ignore[arg-type]
