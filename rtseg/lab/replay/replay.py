"""Run a recording through the pipeline: result bag, overlay video, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.camera import Mount
from rtseg.counted import counted
from rtseg.errors import MediaError
from rtseg.files import check_outputs, held, refuse_inputs
from rtseg.frame import Frame
from rtseg.lab.replay.labels_out import LabelKind, LabelWriter, save_labelled
from rtseg.lab.replay.pictures import OverlayPictures
from rtseg.lab.replay.preview import Preview
from rtseg.lab.replay.rerun_view import FILE as RRD
from rtseg.lab.replay.rerun_view import RerunView
from rtseg.lab.replay.result_bag import ResultBag
from rtseg.lab.replay.run import STAMP_TO_RESULT, ReplayPipeline, Run, certainty
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lab.replay.window import QUIT, Shows
from rtseg.lab.report.report import ReportData, write_report
from rtseg.lab.scores.lanes.temporal import TemporalScore
from rtseg.lanes import Mounting
from rtseg.lanes.mounting import MountingSettings
from rtseg.media.frame_source import FrameSource
from rtseg.media.images import ImageSource
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.printing import described
from rtseg.progress import Bars
from rtseg.results import Instances, Lanes
from rtseg.runtime.compilation import compilation_told
from rtseg.runtime.latency import StageLatency

if TYPE_CHECKING:
    from rtseg.camera import Camera

SAVED = "saved"  # folder of frames that were saved by key
VIDEO_FPS = 30.0  # of an overlay whose source tells no rate


@dataclass(frozen=True)
class ReplayResult:
    """What a replay gave.

    Attributes:
        name: of the recording.
        frames: processed.
        dropped: left out as the node does: their stamps were late or wrong; with ``realtime`` also because a newer one
            was waiting or they were too old.
        skipped: that could not be decoded or processed, by reason.
        restarts: times ids started anew, by the reasons of :mod:`rtseg.runtime.scenes`.
        degraded: frames by what was wrong with the camera's pictures, of :data:`rtseg.camera.state.FAULTS`.
        fps: frames a second that the pipeline alone would sustain, one after the other.
        latency: percentiles by stage, milliseconds; with ``realtime``, ``stamp to result`` includes the wait.
        temporal: steadiness of the lanes, None for instances and stills.
        mounting: what the road says of how the camera is mounted; None without a calibration or lanes.
        bag, video, report: files written.
    """

    name: str
    frames: int
    dropped: int
    skipped: dict[str, int]
    restarts: dict[str, int]
    degraded: dict[str, int]
    fps: float
    latency: tuple[StageLatency, ...]
    temporal: TemporalScore | None
    mounting: Mounting | None
    bag: Path
    video: Path
    report: Path

    def table(self) -> Table:
        """The figures as a table for the terminal."""
        lost = sum(self.skipped.values())
        title = (
            f"{self.name}: {counted(self.frames, 'frame')}, {self.dropped} dropped, {lost} skipped, {self.fps:.0f} FPS"
        )
        table = Table("stage", "p50 ms", "p90 ms", "p99 ms", "max ms", title=title)
        for row in self.latency:
            table.add_row(row.stage, *(f"{value:.2f}" for value in (row.p50, row.p90, row.p99, row.max)))
        return table


def replay(
    source: FrameSource,
    pipeline: ReplayPipeline,
    out: str | Path,
    realtime: bool = False,
    progress: bool = True,
    camera: Camera | None = None,
    labels: LabelKind | None = None,
    view: str | None = None,
    roads: MountingSettings | None = None,
) -> ReplayResult:
    """Run every frame of `source` through `pipeline`; write ``result.mcap``, ``overlay.mp4`` and ``report.html``.

    Args:
        source: recording to replay.
        pipeline: a loaded model; its tracked ids are reset first.
        out: folder for the files.
        realtime: drop frames as the node would at the recorded rate: while one frame is processed the newest of those
            that arrive waits, and stale ones are dropped. The clock is simulated from stamps and measured processing
            times, so that the replay itself need not wait.
        progress: show a bar.
        camera: calibration for ground points; the recording's own by default. Where it tells no mounting, that of the
            recording's static transforms counts.
        labels: also write what was found as labels of this kind, see :mod:`rtseg.lab.replay.labels_out`.
        view: also for the Rerun viewer, see :class:`rtseg.lab.replay.rerun_view.RerunView`.
        roads: how wide lanes are where it was driven, and what is borne, for the watch over the mounting.

    Raises:
        ConfigError: labels of that kind cannot hold what the model finds, or rerun-sdk is not installed.
        MediaError: nothing could be read, an output is an input, or a file cannot be written.
        BackendError: every backend failed.
    """
    out = Path(out)
    if camera is None:
        camera = source.camera
    elif camera.mount == Mount() and source.mount is not None:  # a file that tells none, as in the node
        camera = replace(camera, mount=source.mount)
    run = Run(source, pipeline, realtime, camera=camera, roads=roads)
    names = ("result.mcap", "overlay.mp4", "report.html", RRD)
    refuse_inputs([out / name for name in names], source.files)
    with ExitStack() as stack:
        stack.enter_context(held(out))
        check_outputs(out, names, source.files)  # the report is written when all is done, and would take all along
        labelled = stack.enter_context(_labels(labels, out, pipeline))
        viewer = stack.enter_context(_view(view, out, run, camera))
        bag = stack.enter_context(ResultBag(out / "result.mcap", camera, classes=run.classes, surfaces=run.surfaces))
        video: VideoWriter | None = None
        preview = Preview()
        for frame, result in _shown(run, progress):
            picture = _draw(frame, result, run.classes)
            if video is None:
                size = picture.shape[:2]
                video = stack.enter_context(VideoWriter(out / "overlay.mp4", source.fps or VIDEO_FPS, size))
            # While frames are dropped, the last result is what there is, and what is shown.
            video.write(_fitted(picture, size), run.at)
            preview.write(picture, run.at)
            bag.write(frame, result, picture)
            if labelled:
                labelled.write(frame, result)
            if viewer:
                viewer.write(frame, result)
            run.gallery.add(run.processed - 1, run.caption(result), picture, 1.0 - certainty(result))
        if video is None:
            raise _nothing(run)
        report = write_report(out / "report.html", _report(run, preview.finish()))
    return ReplayResult(
        name=source.name,
        frames=run.processed,
        dropped=run.dropped,
        skipped=run.skipped,
        restarts=dict(run.restarts),
        degraded=dict(run.degraded),
        fps=run.fps,
        latency=tuple(run.latency.summary()),
        temporal=run.temporal.score() if run.temporal else None,
        mounting=run.mounting,
        bag=out / "result.mcap",
        video=out / "overlay.mp4",
        report=report,
    )


@dataclass(frozen=True)
class Overlays:
    """What a run wrote.

    Attributes:
        path: the video, or the folder of pictures.
        noun: what the source is made of: ``picture`` or ``frame``.
        frames: how many were drawn.
        skipped: how many were left out, by reason.
        left_out: (name, reason) of those that are files of their own.
        degraded: frames by what was wrong with the camera's pictures, of :data:`rtseg.camera.state.FAULTS`.
        dropped: how many were left out because their stamps were late or wrong.
    """

    path: Path
    noun: str
    frames: int
    skipped: dict[str, int]
    left_out: tuple[tuple[str, str], ...]
    degraded: dict[str, int] = field(default_factory=dict)
    dropped: int = 0

    def lines(self, most: int = 20) -> list[str]:
        """What was read, written and left out, a line each; at most `most` files by name."""
        lost = sum(self.skipped.values())
        read, without = counted(self.frames + lost + self.dropped, self.noun), lost + self.dropped
        lines = [f"read {read}, left out {without}, wrote {self.frames}: {self.path}"]
        if self.left_out:
            lines += [f"left out {name}: {reason}" for name, reason in self.left_out[:most]]
            lines += [f"left out {lost - most} more"] if lost > most else []
        else:
            lines += [f"left out {count}: {reason}" for reason, count in self.skipped.items()]
        lines += [f"left out {self.dropped}: stamps late or wrong"] if self.dropped else []
        return [*lines, *(f"camera {fault}: {counted(count, 'frame')}" for fault, count in self.degraded.items())]


def run_overlays(
    source: FrameSource,
    pipeline: ReplayPipeline,
    out: str | Path,
    progress: bool = True,
    labels: LabelKind | None = None,
    view: str | None = None,
    window: Shows | None = None,
) -> Overlays:
    """Draw results over every frame: a video, or a picture for each where the source is pictures.

    A live source goes on until it is interrupted; its video is whole then.

    Args:
        source: of frames.
        pipeline: a loaded model.
        out: folder for the overlays.
        progress: show a bar.
        labels: also write what was found as labels of this kind, see :mod:`rtseg.lab.replay.labels_out`.
        view: also for the Rerun viewer, see :class:`rtseg.lab.replay.rerun_view.RerunView`.
        window: where it is also shown; the key `s` saves a frame and what was found in it, as labelme has it, to the
            folder ``saved`` of `out`, and `q` ends the run.

    Raises:
        ConfigError: labels of that kind cannot hold what the model finds, or rerun-sdk is not installed.
        MediaError: nothing could be read, an output is an input, or a file cannot be written.
    """
    out = Path(out)
    run = Run(source, pipeline)
    pictures = OverlayPictures(source.paths, out) if isinstance(source, ImageSource) else None
    written = out if pictures else out / "overlay.mp4"
    if not pictures:
        refuse_inputs([written, out / RRD], source.files)
    with ExitStack() as stack:
        stack.enter_context(held(out))
        labelled = stack.enter_context(_labels(labels, out, pipeline))
        viewer = stack.enter_context(_view(view, out, run, source.camera))
        video: VideoWriter | None = None
        with suppress(KeyboardInterrupt) if source.live else nullcontext():
            for frame, result in _shown(run, progress):
                picture = _draw(frame, result, run.classes)
                if labelled:
                    labelled.write(frame, result)
                if viewer:
                    viewer.write(frame, result)
                if pictures:
                    pictures.write(frame.name, picture)
                else:
                    if video is None:
                        size = picture.shape[:2]
                        video = stack.enter_context(VideoWriter(written, source.fps or VIDEO_FPS, size))
                    video.write(_fitted(picture, size), run.at)
                if window and _watched(window, picture, frame, result, run, out / SAVED):
                    break
        if not run.processed:
            raise _nothing(run)
    left_out = (*source.left_out, *run.refused)
    noun = "picture" if pictures else "frame"
    return Overlays(written, noun, run.processed, run.skipped, left_out, dict(run.degraded), run.dropped)


def _watched(
    window: Shows, picture: NDArray[np.uint8], frame: Frame, result: Lanes | Instances, run: Run, saved: Path
) -> bool:
    """Show a picture and do what the keys say; whether it was enough."""
    at = None if frame.stamp is None else run.at
    for key in window.shown(picture, at, run.source.live):
        if key == QUIT:
            return True
        stem = Path(frame.name).stem or Path(run.source.name).stem
        window.say(f"saved {save_labelled(saved, stem, frame, result, run.classes)}")
    return False


def _labels(kind: LabelKind | None, out: Path, pipeline: ReplayPipeline) -> AbstractContextManager[LabelWriter | None]:
    if kind is None:
        return nullcontext()
    card = pipeline.card
    return LabelWriter(out, kind, card.classes, card.task) if card is not None else LabelWriter(out, kind)


def _view(view: str | None, out: Path, run: Run, camera: Camera | None) -> AbstractContextManager[RerunView | None]:
    return RerunView(out, run.source.name, camera, run.classes, view) if view else nullcontext()


def _shown(run: Run, progress: bool) -> Iterator[tuple[Frame, Lanes | Instances]]:
    with Bars(disable=not progress) as bar:
        name = described(run.source.name)
        task = bar.add_task(name, total=run.source.count)

        def compiling(count: int, kernel: str) -> None:
            told = f"{name}: compiling kernel {count + 1}, {described(kernel)}; once a machine"
            bar.update(task, description=told, refresh=True)

        with compilation_told(compiling):
            for item in run:
                yield item
                bar.update(task, description=name, completed=run.read)


def _draw(frame: Frame, result: Lanes | Instances, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    if isinstance(result, Lanes):
        return draw_lanes(frame.image, result)
    return draw_instances(frame.image, result, classes)


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A video has one size; where the source changes its own, later pictures are scaled to the first."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _nothing(run: Run) -> MediaError:
    reasons = "; ".join(run.skipped) or "it is empty"
    return MediaError(f"expected frames in {run.source.name}, got none that could be processed ({reasons}); check it")


def _report(run: Run, video: bytes) -> ReportData:
    lost = sum(run.skipped.values())
    end_to_end = run.latency.values(STAMP_TO_RESULT if run.realtime else "total")
    p50, p99 = np.percentile(end_to_end, [50, 99])
    figures = [
        ("frames processed", str(run.processed)),
        ("frames a second", f"{run.fps:.0f}"),
        ("latency, median", f"{p50:.1f} ms"),
        ("latency, 99th percentile", f"{p99:.1f} ms"),
        ("dropped", str(run.dropped)),
        ("skipped", str(lost)),
    ]
    tables = []
    if run.temporal:
        score = run.temporal.score()
        header = ("lanes a frame", "id switches", "flickering frames", "flicker", "jitter")
        per_frame = score.lanes / score.frames if score.frames else 0.0
        row = (
            f"{per_frame:.2f}",
            str(score.id_switches),
            str(score.flicker_frames),
            f"{100 * score.flicker:.2f} %",
            f"{score.jitter:.2f} px",
        )
        tables.append(("Steadiness, estimated without truth", header, [row]))
    return ReportData(
        title=f"Replay of {run.source.name}",
        subtitle=f"{run.seconds:.1f} s of recording, {counted(run.read, 'frame')} read"
        + (", at the recorded rate" if run.realtime else ", every frame"),
        figures=figures,
        facts=run.facts(),
        latency=run.latency,
        series=run.series(),
        tables=tables,
        gallery=run.gallery.spread,
        worst=run.gallery.worst,
        notes=run.notes(),
        video=video,
    )
