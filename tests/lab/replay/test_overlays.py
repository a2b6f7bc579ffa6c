"""Overlays of what people have: nothing of theirs is overwritten, nothing is lost without a word, time is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import MediaError
from rtseg.files import held
from rtseg.frame import Frame
from rtseg.lab.replay.pictures import overlay_names
from rtseg.lab.replay.replay import replay, run_overlays
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.media import open_frames
from rtseg.media.images import write_image
from tests.lab.replay.runs import ColumnPipeline, ListSource, drive, road

SECOND = 10**9


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pictures(folder: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        write_image(folder / name, road({1: 20 + i}))
    return folder


def into_itself(tmp_path: Path) -> tuple[Path, Path]:
    return pictures(tmp_path / "in", ["1.jpg", "2.jpg"]), tmp_path / "in"


def through_a_link(tmp_path: Path) -> tuple[Path, Path]:
    os.symlink(pictures(tmp_path / "in", ["1.jpg"]), tmp_path / "link", target_is_directory=True)
    return tmp_path / "in", tmp_path / "link"


def beside_others(tmp_path: Path) -> tuple[Path, Path]:
    pictures(tmp_path / "photos", ["1.jpg"])
    return pictures(tmp_path / "in", ["1.png"]), tmp_path / "photos"


def one_over_itself(tmp_path: Path) -> tuple[Path, Path]:
    return pictures(tmp_path / "in", ["1.jpg"]) / "1.jpg", tmp_path / "in"


def video_over_itself(tmp_path: Path) -> tuple[Path, Path]:
    with VideoWriter(tmp_path / "overlay.mp4", 10, (72, 128)) as video:
        for _ in range(3):
            video.write(road({1: 30}))
    return tmp_path / "overlay.mp4", tmp_path


def recording_over_itself(tmp_path: Path) -> tuple[Path, Path]:
    replay(drive([{1: 30}] * 3), ColumnPipeline(), tmp_path, progress=False)
    return tmp_path / "result.mcap", tmp_path


Case = Callable[[Path], tuple[Path, Path]]


@pytest.mark.parametrize("case", [into_itself, through_a_link, beside_others, one_over_itself, video_over_itself])
def test_run_overwrites_nothing_of_the_users(tmp_path: Path, case: Case) -> None:
    source, out = case(tmp_path)
    before = contents(tmp_path)
    with open_frames(source) as frames, pytest.raises(MediaError, match="another place"):
        run_overlays(frames, ColumnPipeline(), out, progress=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("case", [video_over_itself, recording_over_itself])
def test_replay_overwrites_nothing_of_the_users(tmp_path: Path, case: Case) -> None:
    source, out = case(tmp_path)
    before = contents(tmp_path)
    topic = "/lanes/overlay/compressed" if source.suffix == ".mcap" else None
    with open_frames(source, topic) as frames, pytest.raises(MediaError, match="another place"):
        replay(frames, ColumnPipeline(), out, progress=False)
    assert contents(tmp_path) == before


def test_a_second_run_replaces_the_overlays_of_the_first(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", ["1.jpg", "2.png"])
    for _ in range(2):
        with open_frames(source) as frames:
            run_overlays(frames, ColumnPipeline(), tmp_path / "out", progress=False)
    assert sorted(contents(tmp_path / "out")) == ["1.jpg", "2.jpg"]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    for run in (run_overlays, replay):
        with held(tmp_path / "out"), pytest.raises(MediaError, match="another run"):
            run(drive([{1: 30}] * 3), ColumnPipeline(), tmp_path / "out", progress=False)
    assert contents(tmp_path) == {}


@given(st.lists(st.from_regex(r"[ab](/[ab]){0,2}(\.(jpg|png)){0,3}", fullmatch=True), min_size=1, unique=True))
def test_names_of_overlays_never_collide(names: list[str]) -> None:
    paths = [Path("/data") / name for name in names]
    written = overlay_names(paths)
    assert len(set(written)) == len(paths)
    assert all(not path.is_absolute() and path.suffix == ".jpg" and ".." not in path.parts for path in written)


def test_equal_stems_in_a_folder_and_below(tmp_path: Path) -> None:
    pictures(tmp_path / "in", ["a/1.jpg", "b/1.jpg", "b/1.png", "b/2.png"])
    with open_frames(tmp_path / "in" / "**" / "*.*") as frames:
        run_overlays(frames, ColumnPipeline(), tmp_path / "out", progress=False)
    assert sorted(contents(tmp_path / "out")) == ["a/1.jpg", "b/1.jpg.jpg", "b/1.png.jpg", "b/2.jpg"]


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", ["1.jpg", "2.jpg"])
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((5, 128, 3), np.uint8))
    (folder / "broken\n[red].jpg").write_bytes(b"\xff\xd8\xff")
    with open_frames(folder) as frames:
        done = run_overlays(frames, ColumnPipeline(), tmp_path / "out", progress=False)
    first, *rest = done.lines()
    assert first == f"read 4 pictures, left out 2, wrote 2: {tmp_path / 'out'}"
    assert len(rest) == 2
    assert all(any(name in line for line in rest) for name in ("tiny.png", "broken\n[red].jpg"))
    assert done.lines(most=1)[-1] == "left out 1 more"
    video = run_overlays(
        ListSource([Frame(road({1: 3}), 0), Frame(road({1: 3})[:5], 1)]),
        ColumnPipeline(),
        tmp_path / "v",
        progress=False,
    )
    assert video.lines()[0].startswith("read 2 frames, left out 1, wrote 1")
    alone = run_overlays(ListSource([Frame(road({1: 3}), 0)]), ColumnPipeline(), tmp_path / "alone", progress=False)
    assert alone.lines()[0].startswith("read 1 frame, left out 0, wrote 1")


def test_an_overlay_keeps_the_time_of_its_frames(tmp_path: Path) -> None:
    stamps = [0, 0.1, 0.2, 1.2, 2.2, 2.25, 4.0, 4.1, 4.2]  # a camera at 10 Hz that is slow for a while
    source = ListSource([Frame(road({1: 30}), round(at * SECOND)) for at in stamps], fps=None)
    for path in (
        run_overlays(source, ColumnPipeline(), tmp_path / "run", progress=False).path,
        replay(source, ColumnPipeline(), tmp_path / "replay", progress=False).video,
    ):
        shown = [frame.stamp / SECOND for frame in open_frames(path)]
        np.testing.assert_allclose(shown, stamps, atol=0.001)


class Interrupted(ListSource):
    """A camera that is watched for a while."""

    def _frames(self):
        yield from super()._frames()
        raise KeyboardInterrupt


def test_the_video_of_a_live_camera_is_whole_when_it_is_stopped(tmp_path: Path) -> None:
    source = Interrupted([Frame(road({1: 30}), i * SECOND // 20) for i in range(8)])
    source.live = True
    done = run_overlays(source, ColumnPipeline(), tmp_path, progress=False)
    assert len(list(open_frames(done.path))) == 8
    source.live = False
    with pytest.raises(KeyboardInterrupt):
        run_overlays(source, ColumnPipeline(), tmp_path / "b", progress=False)
    assert contents(tmp_path / "b") == {}


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    class Noise(ListSource):
        def _frames(self):
            rng = np.random.default_rng(0)
            for i in range(400):
                yield Frame(rng.integers(0, 20, (72, 128, 3), np.uint8), i * SECOND // 20)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(MediaError, match="expected to"):
            run_overlays(Noise([]), ColumnPipeline(), tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path) == {}
