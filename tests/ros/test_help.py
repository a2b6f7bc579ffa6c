"""What the nodes' executables say of themselves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
from rtseg_ros import instances, lanes, perception
from rtseg_ros.help import answer_help
from rtseg_ros.parameters import InstanceParameters, LaneParameters, PerceptionParameters

pytestmark = pytest.mark.ros
NODES = {
    "lanes": (lanes, LaneParameters),
    "instances": (instances, InstanceParameters),
    "perception": (perception, PerceptionParameters),
}


@pytest.mark.parametrize("node", NODES)
@pytest.mark.usefixtures("dds")
def test_help_names_the_node_and_all_its_parameters_and_starts_nothing(
    node: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, parameters = NODES[node]
    monkeypatch.setattr(sys, "argv", [node, "--help", "--ros-args", "-p", "threads:=1"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert not ended.value.code
    told = capsys.readouterr().out
    assert told.startswith(f"usage: ros2 run rtseg {node} ")
    assert f"The node `{node}`" in told
    assert all(f"\n  {each.name} (" in told for each in fields(parameters))


@pytest.mark.parametrize("words", [[], ["--ros-args", "-r", "__node:=h", "-p", "model:=-h"], ["stray", "--helpful"]])
def test_whoever_asks_for_no_help_goes_on(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lanes", *words])
    answer_help("lanes", lanes.__doc__, LaneParameters)


def test_what_stands_before_the_ros_arguments_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lanes", "--params-file", "my.yaml", "--ros-args", "-p", "threads:=1"])
    answer_help("lanes", lanes.__doc__, LaneParameters)
    assert capsys.readouterr().err.startswith("lanes: --params-file my.yaml has no effect")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["lanes", "cameras", "player", "recorder", "when_active"])
def test_every_executable_answers(program: str) -> None:
    module = "when_active import main" if program == "when_active" else f"executables import {program} as main"
    command = [sys.executable, "-c", f"from rtseg_ros.{module}; main()", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("usage: ")
