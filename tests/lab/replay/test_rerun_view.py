"""A run for the Rerun viewer, written by the real SDK and read back by it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rtseg.camera import Camera
from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.lab.replay import rerun_live
from rtseg.lab.replay.replay import replay, run_overlays
from rtseg.lab.replay.rerun_view import FILE, RerunView
from rtseg.results import Instances
from tests.lab.replay.runs import HEIGHT, MILLISECOND, WIDTH, ColumnPipeline, ListSource, road

ROOT = Path(__file__).resolve().parents[3]
CAMERA = ROOT / "calibration" / "generic.yaml"


def read(path: Path) -> dict[str, int]:
    """Rows of each entity that has any, without those of the viewer's layout."""
    reader = pytest.importorskip("rerun.chunk", reason="the extra `rerun` is not installed").RrdReader(path)
    rows: Counter[str] = Counter()
    for chunk in reader.stream():
        rows[str(chunk.entity_path)] += chunk.num_rows
    return rows


def test_without_the_package_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    source = ListSource([Frame(road({1: 30}), stamp=0)])
    with pytest.raises(ConfigError, match=r"rtseg\[rerun\]"):
        run_overlays(source, ColumnPipeline(), tmp_path, progress=False, view="rrd")
    assert list(tmp_path.iterdir()) == []


def test_every_frame_with_its_lanes_on_the_image_and_on_the_ground(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    frames = [Frame(road({1: 30 + i, 2: 90}), stamp=i * 33 * MILLISECOND) for i in range(5)]
    replay(ListSource(frames), ColumnPipeline(), tmp_path, progress=False, camera=Camera.load(CAMERA), view="rrd")
    rows = read(tmp_path / FILE)
    for entity in (
        "camera/image",
        "camera/mask",
        "camera/lanes",
        "ground/lanes",
        "times/infer",
        "times/total",
        "found",
    ):
        assert rows[f"/{entity}"] == 5, entity


def test_objects_with_boxes_and_tracks(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[10:20, 30:50] = 1
    one = Instances(
        labels=labels,
        ids=np.array([100_000], np.int32),
        class_ids=np.array([7], np.int32),
        scores=np.array([np.nan], np.float32),
        boxes=np.array([[30, 10, 50, 20]], np.float32),
        areas=np.array([200]),
        centers=np.array([[39.5, 14.5]], np.float32),
        times={"infer": 1.0},
    )
    nothing = Instances(
        np.zeros_like(labels),
        *(array[:0] for array in (one.ids, one.class_ids, one.scores, one.boxes, one.areas, one.centers)),
    )
    with RerunView(tmp_path, "a \x1b drive", classes=("car",)) as view:
        for result in (one, nothing, one):
            view.write(Frame(image), result)
    rows = read(tmp_path / FILE)
    assert all(rows[f"/camera/{entity}"] == 3 for entity in ("image", "mask", "objects", "tracks"))


def test_what_is_no_lane_has_no_color(tmp_path: Path) -> None:
    chunks = pytest.importorskip("rerun.chunk", reason="the extra `rerun` is not installed")
    with RerunView(tmp_path, "a drive"):
        pass
    told = [
        each
        for chunk in chunks.RrdReader(tmp_path / FILE).stream()
        if "AnnotationContext:context" in chunk.to_record_batch().schema.names
        for each in chunk.to_record_batch().column("AnnotationContext:context")[0].as_py()[0]
    ]
    alpha = {each["class_id"]: each["class_description"]["info"]["color"] & 255 for each in told}
    assert alpha == {i: 255 * (i > 0) for i in range(241)}


def test_a_run_that_fails_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    with pytest.raises(RuntimeError), RerunView(tmp_path, "drive"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


LIMITED = f"""
import resource, sys
from pathlib import Path
import numpy as np
from rtseg.errors import MediaError
from rtseg.frame import Frame
from rtseg.lab.replay.rerun_view import RerunView
from tests.lab.replay.runs import ColumnPipeline
noise = Frame(np.random.default_rng(0).integers(0, 256, ({HEIGHT}, {WIDTH}, 3), np.uint8), stamp=0)
result = ColumnPipeline()(noise)
view = RerunView(Path(sys.argv[1]), "drive")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with view:
        view.write(noise, result)
except MediaError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    # A process of its own, whose output goes into pipes: the limit holds for files that output goes to as well.
    command = [sys.executable, "-c", LIMITED, tmp_path]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    expected = f"expected to write {tmp_path / FILE}, got a file without its end; check the disk's space\n"
    assert ended.stdout == expected, ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    """The viewer's own program, told to write down what it would show: its URL, that file, and its process."""
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    got = tmp_path / "got.rrd"
    command = [_program(), "--bind", "127.0.0.1", "--port", str(port), "--save", got]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            _wait_for(port)
            yield f"rerun+http://127.0.0.1:{port}/proxy", got, process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _drive(out: Path, view: str) -> None:
    frames = [Frame(road({1: 30 + i}), stamp=i * 33 * MILLISECOND) for i in range(5)]
    run_overlays(ListSource(frames), ColumnPipeline(), out, progress=False, view=view)


def test_a_viewer_that_listens_gets_what_the_file_has(
    viewer: tuple[str, Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, got, process = viewer
    _drive(tmp_path / "out", url)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert read(got)["/camera/lanes"] == read(tmp_path / "out" / FILE)["/camera/lanes"] == 5


def test_where_nobody_listens_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"rerun+http://127.0.0.1:{free.getsockname()[1]}/proxy"
        with pytest.raises(ConfigError, match="expected a Rerun viewer at"):
            RerunView(tmp_path, "a drive", view=url)
    assert list(tmp_path.iterdir()) == []


def test_a_viewer_that_hangs_costs_the_file_nothing(
    viewer: tuple[str, Path, subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(rerun_live, "_PATIENCE", 0.5)
    url, _, process = viewer
    view = RerunView(tmp_path, "a drive", view=url)
    os.killpg(process.pid, signal.SIGSTOP)
    result = ColumnPipeline()(Frame(road({1: 30})))
    with view:
        for i in range(80):  # more than may wait
            view.write(Frame(road({1: 30}), stamp=i), result)
    assert "the viewer does not answer" in caplog.text
    assert read(tmp_path / FILE)["/camera/lanes"] == 80


def test_the_viewer_of_this_machine_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    with socket.socket() as taken, suppress(ConnectionRefusedError):
        taken.connect(("127.0.0.1", 9876))
        pytest.skip("a viewer runs here already")
    # Beside this Python lies one that shows nothing, and writes down what it was given.
    got, pid = tmp_path / "got.rrd", tmp_path / "pid"
    program = tmp_path / "rerun"
    program.write_text(f'#!/bin/sh\necho $$ > {pid}\nexec {_program()} "$@" --bind 127.0.0.1 --save {got}\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("DISPLAY", ":0")
    try:
        _drive(tmp_path / "out", "rerun")
        _wait_until_written(got)
    finally:
        os.kill(int(pid.read_text()), signal.SIGINT)
        os.waitpid(int(pid.read_text()), 0)
    assert read(got)["/camera/lanes"] == 5


def test_a_viewer_that_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":0")
    _drive(tmp_path / "out", "rerun")
    assert "the viewer did not start" in caplog.text
    assert read(tmp_path / "out" / FILE)["/camera/lanes"] == 5


def _program() -> Path:
    return Path(pytest.importorskip("rerun_cli").__file__).with_name("rerun")


def _wait_until_written(file: Path) -> None:
    """Until nothing has been added for a second: the viewer takes what it was sent from a queue."""
    size, since = -1, time.monotonic()
    for _ in range(100):
        now = file.stat().st_size if file.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif size and time.monotonic() - since > 1:
            return
        time.sleep(0.1)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.1)


def test_without_a_display_the_file_is_written_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    run_overlays(ListSource([Frame(road({1: 30}), stamp=0)]), ColumnPipeline(), tmp_path, progress=False, view="rerun")
    assert "no display" in caplog.text
    assert read(tmp_path / FILE)["/found"] == 1


def test_another_view_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected --view rrd, rerun or"):
        RerunView(tmp_path, "a drive", view="foxglove")
