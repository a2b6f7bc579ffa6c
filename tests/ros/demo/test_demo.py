"""The demo with real processes over DDS, and how it ends when one of them fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (pip install rtseg[ros])")

from rtseg_ros.demo import live
from rtseg_ros.demo.live import Process, run_live
from rtseg_ros.demo.run import run_demo
from rtseg_ros.demo.tasks import instances_from_masks, lanes_from_mask

from rtseg.errors import RtsegError
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.media import open_frames
from rtseg.results import Lanes
from tests.instance_networks import write_instance_model
from tests.threshold_network import two_lane_road, write_threshold_model

pytestmark = [pytest.mark.ros, pytest.mark.slow]
# Slow enough for a busy machine to keep up with.
FRAMES, RATE = 20, 5.0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path / "thresholds")


def _write_video(path: Path, frames: int) -> Path:
    with VideoWriter(path, RATE, (144, 256)) as writer:
        for number in range(frames):
            writer.write(np.roll(two_lane_road(), number % 30, axis=1))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return _write_video(tmp_path / "drive.mp4", FRAMES)


def _children() -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def test_a_video_goes_through_the_live_system(video: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run_demo(video, out, str(model))
    assert summary.sent == FRAMES
    # A busy machine may cost frames, and then says so; most come through.
    assert FRAMES // 2 < summary.received <= FRAMES
    assert summary.found["lanes"] == pytest.approx(2.0, abs=0.2)
    assert 0 < summary.latency_p50 <= summary.latency_p99
    assert {summary.video, summary.bag, summary.report} == set(out.iterdir())
    with open_frames(summary.video) as overlay:
        assert sum(1 for _ in overlay) == FRAMES
    with open_frames(summary.bag, "/camera/image/compressed") as bag:
        assert sum(1 for _ in bag) == summary.received
    report = summary.report.read_text()
    assert "stamp to mask" in report
    assert report.count("data:image/") > 5


def test_the_end_of_a_drive_with_a_lost_frame_is_no_silence(
    video: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = live._lines
    monkeypatch.setattr(
        live, "_lines", lambda path: max(0, counted(path) - 1)
    )  # a mask that does not come is waited for
    run_demo(video, tmp_path / "out", str(model))
    assert "no frame on" not in (tmp_path / "out" / "report.html").read_text()


def test_its_figures_as_json(video: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["--input", str(video), "--model", str(model), "--out", str(tmp_path / "out"), "--json"]
    answer = subprocess.run(
        [sys.executable, "-m", "rtseg", "demo", *arguments], capture_output=True, text=True, timeout=250
    )
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["sent"] == FRAMES == told["received"] + told["lost"]
    assert told["backend"]
    assert all(Path(told[product]).is_file() for product in ("video", "bag", "report"))


def test_lanes_and_instances_of_one_video(video: Path, model: Path, tmp_path: Path) -> None:
    # To the instance network the red line is a person and the green one a car.
    instances = write_instance_model(tmp_path / "blocks", parameters={"min_area": 16})
    summary = run_demo(video, tmp_path / "out", str(model), task="both", instances_model=str(instances))
    assert summary.sent == FRAMES
    assert FRAMES // 2 < summary.received <= FRAMES
    assert summary.found["lanes"] == pytest.approx(2.0, abs=0.2)
    assert 1 <= summary.found["objects"] <= 4
    with open_frames(tmp_path / "out" / "overlay.mp4") as overlay:
        assert sum(1 for _ in overlay) == FRAMES
    for topic in ("/lanes/lane_mask", "/instances/instance_mask", "/perception/overlay/compressed"):
        with open_frames(tmp_path / "out" / "result.mcap", topic) as bag:
            assert sum(1 for _ in bag) == summary.received
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Lanes and instances live" in report
    assert "instances_infer" in report


def test_a_task_that_does_not_exist_is_told(video: Path, tmp_path: Path) -> None:
    with pytest.raises(RtsegError, match="lanes, instances, both"):
        run_demo(video, tmp_path / "out", task="signs")
    with pytest.raises(RtsegError, match="no-such-model"):
        run_demo(video, tmp_path / "out", "no-such-model", task="instances")
    for task in ("lanes", "instances"):
        with pytest.raises(RtsegError, match=f"got one for {task}; name it with --model"):
            run_demo(video, tmp_path / "out", task=task, instances_model="instances-lite")
    with pytest.raises(RtsegError, match="expected --input with a bag to read topic /front from"):
        run_demo(None, tmp_path / "out", topic="/front")


def test_a_rendered_drive_is_the_default(model: Path, tmp_path: Path) -> None:
    summary = run_demo(None, tmp_path / "out", str(model), seconds=1.0)
    assert summary.sent == 30
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_unknown_model_is_told_before_anything_starts(video: Path, tmp_path: Path) -> None:
    with pytest.raises(RtsegError, match="no-such-model"):
        run_demo(video, tmp_path / "out", "no-such-model")


def test_an_input_that_is_no_recording_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(RtsegError, match=r"notes\.mp4"):
        run_demo(tmp_path / "notes.mp4", tmp_path / "out", str(model))


def test_a_process_that_dies_ends_the_run_with_its_log_and_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    video = _write_video(tmp_path / "long.mp4", 100)
    (tmp_path / "run").mkdir()
    masks = tmp_path / "run" / "recording" / "masks.jsonl"
    before, over = _children(), threading.Event()

    def kill_the_node() -> None:
        while not (masks.exists() and masks.stat().st_size):
            if over.wait(0.05):
                return
        for pid in _children() - before:
            with suppress(OSError):
                if b"rtseg_ros.lanes" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_node)
    killer.start()
    try:
        with pytest.raises(RtsegError, match="lanes node ended with code -9"):
            run_live(video, tmp_path / "run", {"model": str(model)}, None)
    finally:
        over.set()
        killer.join()
    assert _children() == before


def test_a_process_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process("player", ["no_such_module"], dict(os.environ), tmp_path)

    def watch() -> None:
        deadline = time.monotonic() + 300
        while not process.ended() and time.monotonic() < deadline:
            time.sleep(0.05)

    with pytest.raises(RtsegError, match="player ended with code 1") as caught:
        watch()
    assert "no_such_module" in str(caught.value)


def test_lanes_are_read_back_from_a_mask() -> None:
    mask = np.zeros((6, 20), dtype=np.uint8)
    mask[2:6, 12:15] = 3
    mask[1:4, 2] = 200
    lanes = lanes_from_mask(mask, 5)
    assert isinstance(lanes, Lanes)
    assert lanes.ids.tolist() == [200, 3]
    np.testing.assert_array_equal(lanes.polylines[0], [(2, 1), (2, 2), (2, 3)])
    np.testing.assert_array_equal(lanes.polylines[1], [(13, 2), (13, 3), (13, 4), (13, 5)])
    assert len(lanes_from_mask(np.zeros((4, 4), np.uint8), 0)) == 0


def test_instances_are_read_back_from_their_masks() -> None:
    ids, kinds = np.zeros((6, 20), np.uint16), np.zeros((6, 20), np.uint8)
    ids[2:6, 12:15], kinds[2:6, 12:15] = 300, 2
    ids[1:4, 2], kinds[1:4, 2] = 70, 1
    found = instances_from_masks(ids, kinds, 5)
    assert (found.ids.tolist(), found.class_ids.tolist(), found.areas.tolist()) == ([70, 300], [0, 1], [3, 12])
    assert found.boxes.tolist() == [[2, 1, 3, 4], [12, 2, 15, 6]]
    np.testing.assert_array_equal(np.array([0, 70, 300])[found.labels], ids)
    assert np.isnan(found.scores).all()
    full = instances_from_masks(ids * 0 + np.uint16(9), kinds * 0 + np.uint8(1), 5)
    assert (full.ids.tolist(), full.areas.tolist()) == ([9], [120])
    assert len(instances_from_masks(ids * 0, kinds * 0, 5)) == 0


def test_the_command_line_tells_a_failure_with_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtseg.cli", "demo", "--input", str(tmp_path / "none.mp4"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 2
    assert "none.mp4" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def _of_session(leader: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.add(int(stat.parent.name))
    return found


def _shared_memory(processes: set[int]) -> set[Path]:
    """Fast DDS' files in shared memory that processes have mapped."""
    found: set[Path] = set()
    for process in processes:
        with suppress(OSError):
            maps = Path(f"/proc/{process}/maps").read_text()
            found |= {Path(path) for path in re.findall(r"/dev/shm/fastrtps_\S+", maps)}
    return found


@pytest.fixture
def before() -> set[Path]:
    """What is in shared memory, also of processes that were killed."""
    return set(Path("/dev/shm").iterdir())


@pytest.fixture
def demo(model: Path, tmp_path: Path, dds: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a session of its own, once node, player and recorder are at work; its log is demo.log."""
    video = _write_video(tmp_path / "long.mp4", 100)
    temporary, told = tmp_path / "temporary", tmp_path / "demo.log"
    temporary.mkdir()
    command = [sys.executable, "-c", "from rtseg.cli import main; main()", "demo", "--model", str(model)]
    with told.open("wb") as log:
        started = subprocess.Popen(
            [*command, "--input", str(video), "--out", str(tmp_path / "out")],
            env={**dds, "TMPDIR": str(temporary)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 120
        while not list(temporary.glob("*/recording/masks.jsonl")):
            assert started.poll() is None, told.read_text()
            assert time.monotonic() < end, told.read_text()
            time.sleep(0.1)
        yield started
    finally:
        for process in _of_session(started.pid):
            os.kill(process, signal.SIGKILL)
        started.wait()


def _left_of(held: set[Path]) -> list[Path]:
    others = _shared_memory({int(path.name) for path in Path("/proc").glob("[0-9]*")})  # some ports are everybody's
    return [path for path in held - others if path.exists()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_leaves_nothing_behind(
    before: set[Path], demo: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    held = _shared_memory(_of_session(demo.pid)) - before
    assert held
    demo.send_signal(number)
    told = (tmp_path / "demo.log").read_text
    assert demo.wait(timeout=60) == 128 + number, told()
    assert not _of_session(demo.pid)
    assert "Traceback" not in told()
    assert not list((tmp_path / "temporary").iterdir())
    assert not _left_of(held)


def test_a_command_that_is_killed_takes_its_processes_along(before: set[Path], demo: subprocess.Popen[bytes]) -> None:
    running = _of_session(demo.pid)
    assert len(running) > 2
    held = _shared_memory(running) - before
    demo.kill()
    end = time.monotonic() + 30  # each ends in good order, which takes it a moment
    while _of_session(demo.pid):
        assert time.monotonic() < end, _of_session(demo.pid)
        time.sleep(0.1)
    assert not _left_of(held)
