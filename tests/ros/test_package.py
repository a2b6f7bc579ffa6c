"""What ships beside the code: launch files, parameters, transport profile, viewers' layouts."""

from __future__ import annotations

import ast
import json
import py_compile
import re
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from rtseg_ros.parameters import (
    DESCRIPTIONS,
    InstanceParameters,
    LaneParameters,
    NodeParameters,
    PerceptionParameters,
)
from rtseg_ros.transport import PROFILE_VARIABLES, large_frames_profile, private_environment, with_large_frames

pytestmark = pytest.mark.ros
PACKAGE = Path(__file__).resolve().parents[2] / "ros"
LAUNCH_FILES = sorted((PACKAGE / "launch").glob("*.launch.py"))
NODES: dict[str, type[NodeParameters]] = {
    "lanes": LaneParameters,
    "instances": InstanceParameters,
    "perception": PerceptionParameters,
}
OVERLAYS = {"overlay", "overlay/compressed"}
TOPICS = {
    "lanes": {"lane_mask", "lanes", "lane_points", "label_info"} | OVERLAYS,
    "instances": {"instance_mask", "class_mask", "label_info"} | OVERLAYS,
    "perception": OVERLAYS,
}


def _arguments(path: Path) -> dict[str, ast.expr]:
    """The names in a launch file's ARGUMENTS."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "ARGUMENTS":
            assert isinstance(statement.value, ast.Dict)
            return {
                ast.literal_eval(key): value
                for key, value in zip(statement.value.keys, statement.value.values, strict=True)
                if key
            }
    raise AssertionError(f"no ARGUMENTS in {path}")


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_compile_and_use_what_they_declare(path: Path, tmp_path: Path) -> None:
    py_compile.compile(str(path), str(tmp_path / "compiled"), doraise=True)
    declared = set(_arguments(path))
    used = set(re.findall(r'LaunchConfiguration\("(\w+)"\)', path.read_text()))
    assert used <= declared
    for value in _arguments(path).values():
        assert isinstance(value, ast.Tuple | ast.List | ast.Set)
        description = ast.literal_eval(value.elts[1])
        assert description.endswith(".")


def _constant(path: Path, name: str) -> object:
    """The value of a launch file's constant."""
    return next(
        ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    )


@pytest.mark.parametrize("node", NODES)
def test_launch_arguments_that_set_parameters_name_real_ones(node: str) -> None:
    path = PACKAGE / "launch" / f"{node}.launch.py"
    declared = _arguments(path)
    assert {"image", "camera_info", "params_file", "use_sim_time", "large_frames", "overlay"} <= set(declared)
    names = _constant(path, "PARAMETERS")
    assert isinstance(names, tuple)
    assert {field.name for field in fields(NODES[node]) if field.name.endswith("model")} <= set(names)
    assert set(names) <= {field.name for field in fields(NODES[node])}
    assert set(names) <= set(declared)
    assert f"{node}.yaml" in path.read_text()


def test_replay_passes_on_arguments_that_exist() -> None:
    passed = _constant(PACKAGE / "launch" / "replay.launch.py", "PASSED_ON")
    assert isinstance(passed, tuple)
    assert set(passed) <= set(_arguments(PACKAGE / "launch" / "lanes.launch.py"))
    assert set(passed) <= set(_arguments(PACKAGE / "launch" / "replay.launch.py"))


@pytest.mark.parametrize("node", NODES)
def test_the_parameter_file_holds_every_parameter_with_its_default(node: str) -> None:
    content = yaml.safe_load((PACKAGE / "config" / f"{node}.yaml").read_text())
    values = content["/**"]["ros__parameters"]
    known = fields(NODES[node])
    assert values == {field.name: field.default for field in known}
    assert {name: type(value) for name, value in values.items()} == {field.name: type(field.default) for field in known}


def test_every_parameter_is_described() -> None:
    assert set(DESCRIPTIONS) == {field.name for kind in NODES.values() for field in fields(kind)}


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


@pytest.mark.parametrize("node", NODES)
def test_viewers_show_topics_that_the_node_publishes(node: str) -> None:
    rviz = (PACKAGE / "rviz" / f"{node}.rviz").read_text()
    fixed = yaml.safe_load(rviz)["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert fixed == ("camera" if node == "instances" else LaneParameters().vehicle_frame)
    foxglove = json.loads((PACKAGE / "foxglove" / f"{node}.json").read_text())
    shown = set(re.findall(r"/(lanes|instances|perception)/([\w/]+)", rviz + json.dumps(foxglove)))
    assert (node, "overlay") in shown
    assert all(topic in TOPICS[owner] for owner, topic in shown)
