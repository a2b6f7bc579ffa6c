"""Replays: what is written, what is dropped, what is counted."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import rtseg
from rtseg.errors import MediaError
from rtseg.frame import Frame
from rtseg.lab.replay.replay import replay, run_overlays
from rtseg.lab.replay.run import Run
from rtseg.media import open_frames
from rtseg.media.images import write_image
from rtseg.results import Lanes
from rtseg.runtime.scenes import REWIND
from tests.lab.replay.runs import MILLISECOND, ColumnPipeline, ListSource, drive, road
from tests.threshold_network import two_lane_road, write_threshold_model


class Page(HTMLParser):
    """Collects what a page would load and the text that it shows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.links += [v or "" for k, v in attributes if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.open

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_frame_is_processed_and_written(tmp_path: Path) -> None:
    source = drive([{1: 30 + i, 2: 90} for i in range(20)])
    result = replay(source, TimedPipeline([2] * 20), tmp_path / "out", progress=False)
    assert (result.frames, result.dropped, result.skipped, result.restarts) == (20, 0, {}, {})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["overlay.mp4", "report.html", "result.mcap"]
    with open_frames(result.video) as video:
        assert sum(1 for _ in video) == 20
        assert video.fps == pytest.approx(1000 / 33, rel=0.01)
    with open_frames(result.bag, topic="/lanes/lane_mask") as bag:
        for i, frame in enumerate(bag):
            assert frame.stamp == i * 33 * MILLISECOND or i == 0
            assert np.array_equal(frame.image[..., 0], road({1: 30 + i, 2: 90})[..., 0] // 20)
    assert {row.stage for row in result.latency} == {"infer", "total"}
    assert result.temporal is not None
    assert result.temporal.id_switches == 0
    assert result.fps == pytest.approx(500)
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(result.table())
    assert "20 frames" in console.export_text()


def test_the_report_is_one_file_that_needs_nothing_else(tmp_path: Path) -> None:
    result = replay(drive([{1: 30}] * 12), ColumnPipeline(), tmp_path, progress=False)
    page = Page(result.report)
    assert page.links
    assert all(link.startswith(("data:image/jpeg;base64,", "data:video/mp4;base64,", "#")) for link in page.links)
    (film,) = [link.partition(",")[2] for link in page.links if link.startswith("data:video")]
    (tmp_path / "film.mp4").write_bytes(base64.b64decode(film))
    with open_frames(tmp_path / "film.mp4") as video:
        assert sum(1 for _ in video) == 12
    assert result.report.stat().st_size < 10_000_000
    assert "url(" not in result.report.read_text().replace("url(#", "")
    for words in ("Replay of list", "12", "Latency by stage", "Least certain frames", "What ran", "processor"):
        assert words in page.text


def node_policy(arrivals: list[int], busy: list[int]) -> tuple[list[int], int]:
    """The node's policy, event by event: one frame in work, one waiting, the newest wins."""
    done: list[int] = []
    dropped, free = 0, 0
    waiting: int | None = None

    def start(frame: int) -> None:
        nonlocal free
        free = max(free, arrivals[frame]) + busy[len(done)]
        done.append(frame)

    for frame, now in enumerate(arrivals):
        if waiting is not None and free <= now:
            start(waiting)
            waiting = None
        dropped += waiting is not None
        waiting = frame
    if waiting is not None:
        start(waiting)
    return done, dropped


class TimedPipeline(ColumnPipeline):
    """Takes as many milliseconds as it is told, on a clock of its own."""

    def __init__(self, busy: list[int]) -> None:
        super().__init__()
        self.times = busy
        self.now = 0

    def clock(self) -> float:
        return self.now / 1e3

    def __call__(self, frame: Frame) -> Lanes:
        lanes = super().__call__(frame)
        spent = self.times[len(self.stamps) - 1]
        self.now += spent
        return replace(lanes, times={"infer": float(spent)})


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 90)), min_size=1, max_size=25))
def test_realtime_drops_what_the_node_would_drop(frames: list[tuple[int, int]]) -> None:
    gaps, busy = zip(*frames, strict=True)
    times = np.cumsum(gaps)
    times -= times[0]
    source = ListSource([Frame(road({1: 30}), int(t) * MILLISECOND) for t in times])
    pipeline = TimedPipeline(list(busy))
    run = Run(source, pipeline, realtime=True, clock=pipeline.clock)
    processed = [frame.stamp for frame, _ in run]
    # Floating point may decide frames that arrive in the very moment another is done.
    done, dropped = node_policy(times.tolist(), list(busy))
    if not _simultaneous(times.tolist(), list(busy)):
        assert processed == [int(times[i]) * MILLISECOND for i in done]
        assert run.dropped == dropped
    assert run.processed + run.dropped == len(frames)
    assert processed[-1] == source.frames[-1].stamp, "the newest frame is always seen"
    late, total = run.latency.values("stamp to result"), run.latency.values("total")
    assert np.all(late >= total - 1e-6)
    assert np.all(late <= total + np.r_[0, total[:-1]] + 1e-6), "no frame waits for more than the one before it"


def _simultaneous(arrivals: list[int], busy: list[int]) -> bool:
    done, _ = node_policy(arrivals, busy)
    free, ends = 0, set()
    for k, frame in enumerate(done):
        free = max(free, arrivals[frame]) + busy[k]
        ends.add(free)
    return bool(ends & set(arrivals))


def test_without_realtime_nothing_is_dropped() -> None:
    run = Run(drive([{1: 30}] * 30, period=MILLISECOND), ColumnPipeline(busy=3))
    assert sum(1 for _ in run) == 30
    assert run.dropped == 0


def test_the_video_of_a_run_with_drops_keeps_its_speed(tmp_path: Path) -> None:
    source = drive([{1: 30}] * 30, period=MILLISECOND)
    result = replay(source, ColumnPipeline(busy=5), tmp_path, realtime=True, progress=False)
    assert result.dropped > 0
    with open_frames(result.video) as video:
        stamps = [frame.stamp for frame in video]
    assert len(stamps) == result.frames
    assert stamps[-1] == pytest.approx(29 * MILLISECOND, abs=MILLISECOND), "the last frame is always processed"


def test_a_recording_that_begins_again_starts_the_ids_anew_and_a_late_frame_does_not(tmp_path: Path) -> None:
    stamps = [0, 33, 66, 10, 99, 132, 10**9, 165, *range(0, 200, 33)]
    source = ListSource([Frame(road({1: 30}), s * MILLISECOND) for s in stamps])
    result = replay(source, ColumnPipeline(), tmp_path, progress=False)
    assert result.restarts == {REWIND: 1}
    assert (result.frames, result.dropped) == (13, 2)
    text = Page(result.report).text
    assert "Ids began anew 1 time: stamps went back." in text
    assert "2 of 15 frames (13.3 %) were dropped because their stamps were late or wrong." in text


def test_absurd_gaps_do_not_stretch_the_run(tmp_path: Path) -> None:
    later = 17 * 10**17
    source = ListSource([Frame(road({1: 30}), s) for s in (0, 10**7, *(later + i * 10**7 for i in range(4)))])
    run = Run(source, ColumnPipeline())
    assert sum(1 for _ in run) == 6
    assert run.seconds == pytest.approx(0.04)
    live = TimedPipeline([5] * 6)
    assert sum(1 for _ in Run(source, live, realtime=True, clock=live.clock)) == 4, "the node cannot read ahead"
    report = replay(source, ColumnPipeline(), tmp_path, progress=False).report.read_text()
    assert "Ids began anew 1 time: pause. Pauses are left out of the time." in report


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=12), st.booleans())
@settings(max_examples=25)
def test_any_stamps_pass(stamps: list[int], realtime: bool) -> None:
    run = Run(ListSource([Frame(road({1: 30}), s) for s in stamps]), ColumnPipeline(), realtime)
    assert sum(1 for _ in run) + run.dropped + sum(run.skipped.values()) == len(stamps)
    assert run.series()
    assert np.isfinite(run.seconds)


def test_what_the_node_would_find_too_old_is_dropped_at_the_recorded_rate() -> None:
    pipeline = TimedPipeline([10, 2000, 10, 10, 1500, *[10] * 60])
    source = drive([{1: 30}] * 60, period=100 * MILLISECOND)
    run = Run(source, pipeline, realtime=True, clock=pipeline.clock)
    kept = [frame.stamp for frame, _ in run]
    # The second and the fifth take longer than a result may; meanwhile others come, of which the newest is kept.
    assert run.dropped_by == {"old": 2, "stale": pytest.approx(33, abs=2)}
    assert run.processed + run.dropped == 60
    assert kept[0] == 0
    assert kept[-1] == 5900 * MILLISECOND
    every = Run(source, TimedPipeline([1500] * 60), clock=pipeline.clock)
    assert sum(1 for _ in every) == 60, "without realtime no frame waits, and none is too old"


def test_a_pipeline_that_streams_gives_what_one_by_one_gives(tmp_path: Path) -> None:
    pipeline = rtseg.load(write_threshold_model(tmp_path / "thresholds"))
    frames = [Frame(np.roll(two_lane_road(), 2 * i, axis=1), i * 33 * MILLISECOND) for i in range(10)]
    frames[4] = Frame(np.zeros((1, 9, 3), np.uint8), frames[4].stamp)
    run = Run(ListSource(frames), pipeline)
    found = list(run)
    assert run.skipped == {"expected an image of at least 2x2 pixels": 1}
    assert [frame.stamp for frame, _ in found] == [result.stamp for _, result in found]
    pipeline.reset()
    for frame, result in found:
        np.testing.assert_array_equal(result.mask, pipeline(frame).mask)


def test_refused_frames_are_counted_and_the_run_goes_on(tmp_path: Path) -> None:
    frames = [Frame(road({1: 30}), i * 33 * MILLISECOND) for i in range(6)]
    frames[2] = Frame(np.zeros((4, 4, 3), np.uint8), frames[2].stamp)
    result = replay(ListSource(frames), ColumnPipeline(), tmp_path, progress=False)
    assert (result.frames, result.skipped) == (5, {"expected at least 10 rows": 1})
    assert "1 frame left out: expected at least 10 rows" in Page(result.report).text


def test_frames_of_changing_size_fit_one_video(tmp_path: Path) -> None:
    frames = [Frame(road({1: 30}), 0), Frame(np.pad(road({1: 30}), ((0, 0), (0, 40), (0, 0))), MILLISECOND)]
    pipeline = ColumnPipeline()
    assert replay(ListSource(frames), pipeline, tmp_path, progress=False).frames == 2


def test_pictures_of_a_slow_sequence_are_all_drawn(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "in" / f"{i}.png", two_lane_road())
    for fps in (0.2, 0.001):  # one in five seconds, one in 17 minutes
        with open_frames(tmp_path / "in", fps=fps) as frames:
            overlays = run_overlays(frames, ColumnPipeline(), tmp_path / "out", progress=False)
        assert (overlays.frames, overlays.dropped) == (3, 0)


def test_frames_of_wrong_stamps_are_told(tmp_path: Path) -> None:
    for name in (1403636579763555584, 1403636579813555456, 1403636579863555584, 1503636579863555584):
        write_image(tmp_path / "in" / f"{name}.png", two_lane_road())
    with open_frames(tmp_path / "in") as frames:
        overlays = run_overlays(frames, ColumnPipeline(), tmp_path / "out", progress=False)
    assert overlays.dropped == 1
    first, last = overlays.lines()
    assert first.startswith("read 4 pictures, left out 1, wrote 3")
    assert last == "left out 1: stamps late or wrong"


def test_a_report_that_cannot_be_written_is_told_before_a_frame_is_read(tmp_path: Path) -> None:
    (tmp_path / "out" / "report.html").mkdir(parents=True)

    class Unread(ListSource):
        def _frames(self) -> Iterator[Frame]:
            raise AssertionError("a frame was asked for")

    with pytest.raises(MediaError, match=r"expected to write .*report\.html"):
        replay(Unread([]), ColumnPipeline(), tmp_path / "out", progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


@pytest.mark.parametrize("frames", [[], [Frame(np.zeros((4, 4, 3), np.uint8))]])
def test_nothing_to_show_is_an_error_and_leaves_no_files(tmp_path: Path, frames: list[Frame]) -> None:
    with pytest.raises(MediaError, match="expected frames in list"):
        replay(ListSource(frames), ColumnPipeline(), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MediaError, match="expected frames in list"):
        run_overlays(ListSource(frames), ColumnPipeline(), tmp_path, progress=False)


def test_lanes_without_any_line_are_reported(tmp_path: Path) -> None:
    result = replay(drive([{}] * 5), ColumnPipeline(), tmp_path, progress=False)
    assert "0 lanes, confidence 0.00" in Page(result.report).text


def test_overlays_of_a_video_and_of_pictures(tmp_path: Path) -> None:
    video = run_overlays(drive([{1: 30}] * 5), ColumnPipeline(), tmp_path / "v", progress=False)
    assert video.path == tmp_path / "v" / "overlay.mp4"
    for name in ("b.png", "a.png"):
        write_image(tmp_path / "in" / name, road({1: 30}))
    (tmp_path / "in" / "0.png").write_bytes(b"broken")
    with open_frames(tmp_path / "in") as source:
        folder = run_overlays(source, ColumnPipeline(), tmp_path / "p", progress=False).path
    assert sorted(p.name for p in folder.iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.slow
def test_a_real_bag_through_the_bundled_model(tmp_path: Path, driving_data: Path) -> None:
    import rtseg

    with open_frames(driving_data / "bags" / "challenge_raw640_sqlite3") as source:
        result = replay(source, rtseg.load("lanes-lite"), tmp_path, progress=False)
        expected = [f.stamp for f in source]
    assert result.frames == 12
    with open_frames(result.bag, topic="/lanes/lane_mask") as masks:
        assert [f.stamp for f in masks] == expected
