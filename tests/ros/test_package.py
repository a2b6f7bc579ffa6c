"""What ships beside the code: parameters and transport profile (launch files and layouts: ros/test)."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from rtseg_ros.parameters import (
    InstanceParameters,
    LaneParameters,
    NodeParameters,
    PerceptionParameters,
    setting_of,
)
from rtseg_ros.transport import PROFILE_VARIABLES, large_frames_profile, private_environment, with_large_frames

pytestmark = pytest.mark.ros
PACKAGE = Path(__file__).resolve().parents[2] / "ros"
NODES: dict[str, type[NodeParameters]] = {
    "lanes": LaneParameters,
    "instances": InstanceParameters,
    "perception": PerceptionParameters,
}


@pytest.mark.parametrize("node", NODES)
def test_the_parameter_file_holds_every_parameter_with_its_default(node: str) -> None:
    content = yaml.safe_load((PACKAGE / "config" / f"{node}.yaml").read_text())
    values = content["/**"]["ros__parameters"]
    known = fields(NODES[node])
    assert values == {field.name: field.default for field in known}
    assert {name: type(value) for name, value in values.items()} == {field.name: type(field.default) for field in known}


def test_every_parameter_is_described_and_every_number_has_a_range() -> None:
    for each in (each for kind in NODES.values() for each in fields(kind)):
        setting = setting_of(each)
        assert setting.text
        if type(each.default) in (int, float):
            assert setting.low is not None
            assert setting.high is not None
            assert setting.low <= each.default <= setting.high


def test_the_transport_profile_takes_a_frame_in_one_piece() -> None:
    tree = ElementTree.parse(large_frames_profile())
    values = {element.tag.rpartition("}")[2]: element.text for element in tree.iter()}
    assert int(values["maxMessageSize"] or 0) >= 1920 * 1080 * 3
    assert int(values["segment_size"] or 0) >= 4 * int(values["maxMessageSize"] or 0)


def test_a_profile_of_the_users_own_stays() -> None:
    assert with_large_frames({"FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"}) == {
        "FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"
    }
    assert set(with_large_frames({"HOME": "/"})) == {"HOME", *PROFILE_VARIABLES}


def test_private_environments_do_not_meet() -> None:
    domains = {private_environment({})["ROS_DOMAIN_ID"] for _ in range(20)}
    assert len(domains) > 5
    assert all(1 <= int(domain) <= 101 for domain in domains)
