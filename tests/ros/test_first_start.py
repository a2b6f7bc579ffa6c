"""A node's start, with kernels that are not compiled yet and without end; signals are heard at every stage of it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sensor_msgs.msg import Image

from rtseg.runtime.card import ModelCard, sha256_of
from tests.ros.harness import PATIENCE, Peer, Process
from tests.threshold_network import threshold_card, two_lane_road, write_threshold_network

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
SOON = 4.0
"""Seconds: twice what is promised, and less than what ``ros2 launch`` waits before it sends the next signal."""
Start = Callable[..., Process]


@pytest.fixture
def start(dds: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the executable of the node `lanes` with ROS arguments; keyword arguments are environment variables."""
    processes: list[Process] = []

    def begin(*arguments: str, python: tuple[str, ...] = (), **environment: str) -> Process:
        code = "from rtseg_ros.executables import lanes; lanes()"
        command = [sys.executable, *python, "-c", code, "--ros-args", *arguments]
        process = Process(command, {**dds, **environment}, tmp_path / f"{len(processes)}.log")
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.end()


def wait_for(process: Process, words: str) -> None:
    end = time.monotonic() + PATIENCE
    while words not in process.output():
        assert process.child.poll() is None, process.output()
        assert time.monotonic() < end, f"{words!r} is not said:\n{process.output()}"
        time.sleep(0.05)


def shared_memory(pid: int | str) -> set[str]:
    """Fast DDS' segments that a process has mapped: its own, and those of whom it talks to. Ports are everybody's."""
    return set(re.findall(r"/dev/shm/fastrtps_(?!port)\S+", Path(f"/proc/{pid}/maps").read_text()))


def end(process: Process, number: int) -> None:
    """Send a signal, and see that the process ends soon, in good order, and leaves nothing behind."""
    held = shared_memory(process.child.pid)
    begun = time.monotonic()
    assert process.stop(number) == 0, process.output()
    assert time.monotonic() - begun < SOON
    assert "Traceback" not in process.output()
    for other in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            held -= shared_memory(other.name)
    assert not [path for path in held if Path(path).exists()]


@pytest.mark.slow
def test_a_signal_ends_it_while_modules_are_imported(start: Start) -> None:
    process = start(python=("-X", "importtime"))
    wait_for(process, " numpy")
    end(process, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_kernels_are_compiled(start: Start, tmp_path: Path, number: int) -> None:
    process = start(NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    wait_for(process, "compiling kernels, once: ")
    end(process, number)
    assert "ended while loading" in process.output()


@pytest.mark.slow
def test_the_first_start_tells_that_it_compiles_and_the_second_finds_the_kernels(
    start: Start, model: Path, tmp_path: Path
) -> None:
    arguments = ("-p", f"model:={model}", "-r", "__ns:=/first", "-p", "use_sim_time:=false")
    first = start(*arguments, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    peer = Peer("/first", first)
    try:
        health = peer.wait_for_health(lambda h: "compiling kernels, once" in h["message"], "no word of compiling")
        assert (health["level"], health["state"]) == (0, "unconfigured")
        peer.wait_for_health(lambda h: h["state"] == "active" and "compiling" not in h["message"], "not active")
    finally:
        peer.close()
    end(first, signal.SIGTERM)
    second = start(*arguments, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    wait_for(second, "is ready on")
    assert "compiling" not in second.output()
    end(second, signal.SIGTERM)


@pytest.mark.slow
def test_prepare_compiles_all_that_the_node_needs(
    start: Start, model: Path, tmp_path: Path, dds: dict[str, str]
) -> None:
    environment = {**dds, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    for expected in ("kernels compiled", " 0 kernels compiled"):
        command = [sys.executable, "-c", "from rtseg.cli import main; main()", "prepare", str(model)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
    full = shutil.copytree(tmp_path / "kernels", tmp_path / "full")
    for file in full.rglob("motion._move*"):
        file.unlink()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    command[2], environment["NUMBA_CACHE_DIR"] = limit + command[2], str(full)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, " 1 kernel compiled" in done.stdout) == (1, True), done.stdout + done.stderr
    assert f"compiled kernels cannot be kept in {full}: File too large" in done.stderr
    process = start("-p", f"model:={model}", "-r", "__ns:=/prepared", NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    peer = Peer("/prepared", process)
    try:
        masks = peer.listen(Image, "lane_mask")
        peer.wait_until_listening()
        peer.exchange(two_lane_road(), SECOND, masks)
    finally:
        peer.close()
    assert "compiling" not in process.output()
    end(process, signal.SIGTERM)


def write_network_without_end(folder: Path) -> Path:
    """The model of thresholds, which for an image that is not black goes round a loop for hours."""
    folder.mkdir()
    write_threshold_network(folder / "model.onnx")
    model = onnx.load(folder / "model.onnx")
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Add", ["sum", "zero"], ["next_sum"])],
        "body",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_sum", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.zeros((), np.float32), "zero")],
    )
    model.graph.node[-1].output[0] = "plain"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "many"], ["rounds"]),
            helper.make_node("Cast", ["rounds"], ["trips"], to=TensorProto.INT64),
            helper.make_node("Loop", ["trips", "", "nothing"], ["sums"], body=body),
            helper.make_node("Add", ["plain", "sums"], ["logits"]),
        ]
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.float32(1e12), "many"),
            numpy_helper.from_array(np.float32(0), "nothing"),
        ]
    )
    onnx.save(model, folder / "model.onnx")
    card = threshold_card()
    card["model"]["sha256"] = sha256_of(folder / "model.onnx")
    ModelCard.model_validate(card).dump(folder / "card.yaml")
    return folder


def test_a_signal_ends_it_while_the_network_does_not_return(start_node: Callable[..., Peer], tmp_path: Path) -> None:
    peer = start_node(model=str(write_network_without_end(tmp_path / "endless")), backend="onnxruntime")
    peer.wait_until_listening()
    health = peer.insist(
        lambda: peer.publish(two_lane_road(), SECOND),
        lambda: peer.health if float(peer.health.get("busy_with_one_frame_s", 0)) > 0.5 else None,
        every=5.0,
        what="the network returns",
    )
    assert health["processed"] == "0"
    end(peer.process, signal.SIGTERM)
