"""Nodes of several cameras in one process: each its own parameters, states and frames, and one end for all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from rtseg_ros.cameras import main
from sensor_msgs.msg import Image

from tests.ros.harness import Peer, Process, mask_of
from tests.threshold_network import two_lane_road

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
StartCameras = Callable[..., list[Peer]]


@pytest.fixture
def start_cameras(dds: dict[str, str], model: Path, tmp_path: Path) -> Iterator[StartCameras]:
    """Start nodes named as on the command line, with parameters by full name; gives a peer for each."""
    processes: list[Process] = []
    peers: list[Peer] = []

    def start(*nodes: str, **parameters: dict[str, object]) -> list[Peer]:
        given: dict[str, object] = {"/**": {"ros__parameters": {"model": str(model)}}}
        given |= {f"/truck/{camera}/lanes": {"ros__parameters": values} for camera, values in parameters.items()}
        (tmp_path / "parameters.yaml").write_text(yaml.safe_dump(given))
        arguments = ["--ros-args", "-r", "__ns:=/truck", "--params-file", str(tmp_path / "parameters.yaml")]
        process = Process(
            [sys.executable, "-m", "rtseg_ros.cameras", *nodes, *arguments], dds, tmp_path / "cameras.log"
        )
        processes.append(process)
        found = [Peer(f"/truck/{camera}", process, kind) for camera, kind in (node.split("/") for node in nodes)]
        peers.extend(found)
        return found

    yield start
    for peer in peers:
        peer.close()
    for process in processes:
        process.end()


@pytest.mark.slow
def test_each_camera_has_its_frames_parameters_and_states(start_cameras: StartCameras) -> None:
    left, right = start_cameras("left/lanes", "right/lanes", right={"min_confidence": 1.0})
    masks = {peer.namespace: peer.listen(Image, "lane_mask") for peer in (left, right)}
    for peer in (left, right):
        peer.wait_until_listening()
    road = two_lane_road()
    assert set(np.unique(mask_of(left.exchange(road, SECOND, masks[left.namespace])))) == {0, 1, 2}
    assert not masks[right.namespace]
    # What is not surely a lane is none in the other's.
    assert not mask_of(right.exchange(road, 2 * SECOND, masks[right.namespace])).any()
    assert right.change_state("deactivate")
    assert right.change_state("cleanup")
    left.exchange(road, 3 * SECOND, masks[left.namespace])
    assert left.wait_for_health(lambda h: h["processed"] == "2", "not both frames")["state"] == "active"
    assert right.wait_for_health(lambda h: h["state"] == "unconfigured", "another state")
    assert left.process.stop() == 0
    assert "Traceback" not in left.process.output()


def test_one_that_cannot_come_up_ends_all_where_that_is_asked_for(start_cameras: StartCameras) -> None:
    bad = {"model": "no-such-model", "exit_on_failure": True}
    process = start_cameras("left/lanes", "right/lanes", right=bad)[0].process
    assert process.child.wait(timeout=120) == 1
    assert "expected a bundled model" in process.output()
    assert "Traceback" not in process.output()


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([], "required"),
        (["left"], "such as left/lanes"),
        (["left/radar"], "such as left/lanes"),
        (["le ft/lanes"], "le ft"),
        (["left/lanes", "/left/lanes/"], "each node once"),
    ],
)
def test_names_that_cannot_be_are_told(
    nodes: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cameras", *nodes])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
