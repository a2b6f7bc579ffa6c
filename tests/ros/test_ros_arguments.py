"""ROS arguments that ROS refuses, or drops in silence, are told in a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rclpy.utilities import remove_ros_args
from rtseg_ros import ros_arguments

from tests.ros.harness import Peer

pytestmark = pytest.mark.ros
StartNode = Callable[..., Peer]

FILES = {
    "no file": (None, "YAML file"),
    "no node": ("min_confidence: 0.5\n", "ros__parameters"),
    "no ros__parameters": ("lanes:\n  min_confidence: 0.5\n", "ros__parameters"),
    "tabs": ("/**:\n\tros__parameters:\n", "YAML file"),
    "no value": ("/**:\n  ros__parameters:\n    model:\n", "a value to each name"),
    "two kinds": ("/**:\n  ros__parameters:\n    ignore: [a, 1]\n", "same type"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_parameter_file_that_ros_refuses_is_named(name: str, tmp_path: Path) -> None:
    text, expected = FILES[name]
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    told = _refused("--params-file", str(path))
    assert str(path) in told
    assert expected in told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-p", "foo"], "-p NAME:=VALUE"),
        (["-p", "min_confidence:="], "-p NAME:=VALUE"),
        (["-r", "image:="], "-r NAME:=NAME"),
        (["-r", "image:=front camera"], "-r NAME:=NAME"),
        (["-r", "image:=/1st"], "-r NAME:=NAME"),
        (["--log-level", "loud"], "debug, info"),
        (["--nonsense"], "expected ROS arguments"),
    ],
)
def test_an_argument_that_ros_refuses_is_told_with_what_was_expected(arguments: list[str], expected: str) -> None:
    told = _refused(*arguments)
    assert expected in told
    assert arguments[-1] in told


def _refused(*arguments: str) -> str:
    with pytest.raises(ros_arguments.REFUSALS) as refused:
        remove_ros_args(["lanes", "--ros-args", *arguments])
    told = ros_arguments.refusal(refused.value)
    assert "\n" not in told
    assert "/src/" not in told
    assert "error not set" not in told
    return told


@pytest.mark.slow
@pytest.mark.parametrize("program", ["lanes", "cameras", "player", "recorder"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["-p", "foo"], "-p NAME:=VALUE"), (["-p", "use_sim_time:=often"], "use_sim_time")],
    ids=["none of ROS'", "of another kind"],
)
def test_every_executable_ends_with_a_sentence(
    program: str, arguments: list[str], words: str, dds: dict[str, str], tmp_path: Path
) -> None:
    own = {"cameras": ["left/lanes"], "player": [str(tmp_path)], "recorder": [str(tmp_path)]}.get(program, [])
    command = [sys.executable, "-c", f"from rtseg_ros.executables import {program}; {program}()", *own]
    ended = subprocess.run(
        [*command, "--ros-args", *arguments], env=dds, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith("rtseg: ")
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr


def test_a_parameter_file_for_other_nodes_and_a_qos_are_told(start_node: StartNode, tmp_path: Path) -> None:
    other, mine = tmp_path / "other.yaml", tmp_path / "mine.yaml"
    other.write_text("lane:\n  ros__parameters: {max_age: 2.0}\n/front:\n  lanes:\n    ros__parameters: {a: {b: 1}}\n")
    mine.write_text(
        "/**/lanes:\n  ros__parameters:\n    max_age: 2.0\n    qos_overrides:\n      /image:\n        subscription:\n"
        "          reliability: reliable\n/front/lanes:\n  ros__parameters: {max_age: 3.0}\n"
    )
    peer = start_node(params_file=mine)
    peer.wait_for_state("active")
    output = peer.process.output()
    assert "mine.yaml has no effect" not in output
    assert "qos_overrides./image.subscription.reliability has no effect" in output
    peer = start_node(params_file=other)
    peer.wait_for_state("active")
    output = peer.process.output()
    assert f"{other} has no effect: it holds parameters of lane, /front/lanes" in output
    assert f"{peer.namespace}/lanes" in output
