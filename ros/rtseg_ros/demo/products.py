"""From a recorded run to the overlay video, the result bag and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera
from rtseg.counted import counted
from rtseg.errors import RtsegError
from rtseg.frame import Frame
from rtseg.lab.replay.preview import Preview
from rtseg.lab.replay.result_bag import ResultBag
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lab.report.plots import Series
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.media import draw_lanes, open_frames
from rtseg.messages import surfaces_of
from rtseg.progress import Bars
from rtseg.results import Instances, Lanes
from rtseg.runtime import LatencyLog, find_model
from rtseg_ros.demo.live import LiveRun
from rtseg_ros.demo.tasks import LANES, DemoTask, draw_results, lanes_from_mask, results_from_masks

PICTURES = 12


@dataclass(frozen=True)
class Summary:
    """The figures of a run, and what it wrote.

    Attributes:
        sent: frames that left the player.
        received: frames all of whose masks reached the recorder.
        lost_where: how many of the frames without a mask the node itself dropped, and why.
        latency_p50: milliseconds from a frame's stamp to its mask's arrival.
        latency_p99: the same, 99th percentile.
        fps: masks a second.
        found: mean over those frames, by what is found: lanes, objects.
        rate: frames a second at which they were sent.
        late: frames that left more than half a period after their time.
        backend: of the node.
        video: every mask drawn over its frame.
        bag: frames and results.
        report: the page.
    """

    title: str
    sent: int
    received: int
    lost_where: str
    latency_p50: float
    latency_p99: float
    fps: float
    found: dict[str, float]
    rate: float
    late: int
    backend: str
    video: Path
    bag: Path
    report: Path

    @property
    def lost(self) -> int:
        """Frames without a mask."""
        return self.sent - self.received


def write_products(
    source: Path,
    live: LiveRun,
    out: Path,
    title: str,
    models: Mapping[str, str],
    camera: Camera | None,
    task: DemoTask = LANES,
) -> Summary:
    """Draw every mask over its frame, and write video, bag and report into `out`.

    Raises:
        RtsegError: if no mask was recorded, or a file cannot be written.
    """
    overlays, results_bag, page = out / "overlay.mp4", out / "result.mcap", out / "report.html"
    latency, pictures, preview = LatencyLog(), [], Preview()
    times: list[float] = []  # seconds from the start, of frames with masks
    counts: dict[str, list[int]] = {}
    card = find_model(models[list(models)[-1]]).card
    classes, surfaces = card.classes, surfaces_of(card)
    every = max(1, len(live.stamps) // PICTURES)
    video: VideoWriter | None = None
    with ResultBag(results_bag, camera, classes=classes, surfaces=surfaces) as bag, Bars() as bar:
        matched = _matched(source, live, task)
        for number, (frame, found, milliseconds) in enumerate(
            bar.track(matched, total=len(live.stamps), description="drawing")
        ):
            if video is None:
                video = VideoWriter(overlays, live.rate, frame.size)
            seconds = ((frame.stamp or 0) - live.stamps[0]) / 1e9
            if not found:
                overlay = draw_lanes(frame.image, _nothing(frame), "no mask")
                video.write(overlay)
                preview.write(overlay, seconds)
                continue
            times.append(seconds)
            latency.record({"stamp to mask": milliseconds})
            for noun, result in found.items():
                counts.setdefault(noun, []).append(len(result))
            caption = "   ".join(
                [f"{milliseconds:.1f} ms", *(counted(len(r), noun.removesuffix("s")) for noun, r in found.items())]
            )
            overlay = draw_results(frame, found, classes, caption)
            video.write(overlay)
            preview.write(overlay, seconds)
            results = tuple(found.values())
            bag.write(frame, results if len(results) > 1 else results[0], overlay)
            if number % every == every // 2:
                pictures.append(Picture.of(f"{seconds:.1f} s, {caption}", overlay))
        if video is None:
            raise RtsegError(f"expected frames in {source}, got none")
        video.close()
    if not counts:
        raise RtsegError(f"the {task.node} node gave no mask for {len(live.stamps)} frames; see {overlays}")
    delays = latency.values("stamp to mask")
    p50, p99 = np.percentile(delays, [50, 99])
    span = (live.stamps[-1] - live.stamps[0]) / 1e9
    dropped = {
        name.removeprefix("dropped_"): int(count)
        for name, count in live.diagnostics.items()
        if name.startswith("dropped_") and int(count)
    }
    summary = Summary(
        title=title,
        sent=len(live.stamps),
        received=len(delays),
        lost_where=", ".join(f"{count} {reason} in the node" for reason, count in dropped.items()) or "on the way",
        latency_p50=float(p50),
        latency_p99=float(p99),
        fps=len(delays) / (span + 1 / live.rate),
        found={noun: float(np.mean(values)) for noun, values in counts.items()},
        rate=live.rate,
        late=live.late,
        backend=live.diagnostics.get("backend", ""),
        video=overlays,
        bag=results_bag,
        report=page,
    )
    report = _report(summary, live, latency, np.array(times), counts, models, task)
    write_report(page, replace(report, gallery=pictures, video=preview.finish()))
    return summary


def _matched(
    source: Path, live: LiveRun, task: DemoTask
) -> Iterator[tuple[Frame, dict[str, Lanes | Instances], float]]:
    """The frames that were sent, each with what its masks say and how long the last of them took."""
    from rtseg_ros.recorder import Recording

    recording = Recording(live.recording)
    entries: dict[int, dict[str, Any]] = {}
    for entry in recording.entries:
        entries.setdefault(entry.stamp, {})[entry.topic] = entry
    try:
        with open_frames(source, live.topic) as frames:
            # No strict zip: a recording may be played in part.
            for stamp, frame in zip(live.stamps, frames, strict=False):
                frame = replace(frame, stamp=stamp, frame_id="camera")
                of_frame = entries.get(stamp, {})
                if set(of_frame) != set(task.masks):
                    yield frame, {}, float("nan")
                else:
                    masks = {topic: recording.mask(entry) for topic, entry in of_frame.items()}
                    spent = max(entry.latency_ms for entry in of_frame.values())
                    yield frame, results_from_masks(masks, stamp), spent
    finally:
        recording.close()


def _nothing(frame: Frame) -> Lanes:
    return lanes_from_mask(np.zeros(frame.size, dtype=np.uint8), frame.stamp or 0)


def _report(
    summary: Summary,
    live: LiveRun,
    latency: LatencyLog,
    seconds: NDArray[np.float64],
    counts: Mapping[str, list[int]],
    models: Mapping[str, str],
    task: DemoTask,
) -> ReportData:
    values = latency.values("stamp to mask")
    told = live.diagnostics
    stages = [name.removesuffix("_p50_ms") for name in told if name.startswith("stage_") and name.endswith("_p50_ms")]
    rows = [[stage.removeprefix("stage_"), told[f"{stage}_p50_ms"], told[f"{stage}_p99_ms"]] for stage in stages]
    notes = []
    if summary.lost:
        notes.append(f"{summary.lost} of {summary.sent} frames without a mask: {summary.lost_where}.")
    if live.late:
        notes.append(
            f"The player sent {counted(live.late, 'frame')} more than half a period late: this machine was too busy."
        )
    if told.get("level", "0") != "0":
        notes.append(f"The node's last diagnostics: {told['message']}.")
    return ReportData(
        title=f"{task.title} live over ROS 2",
        subtitle=summary.title,
        figures=[
            ("frames sent", str(summary.sent)),
            ("masks received", str(summary.received)),
            ("lost", str(summary.lost)),
            ("stamp to mask, p50", f"{summary.latency_p50:.1f} ms"),
            ("stamp to mask, p99", f"{summary.latency_p99:.1f} ms"),
            ("masks a second", f"{summary.fps:.1f}"),
            *((f"{noun} a frame", f"{mean:.2f}") for noun, mean in summary.found.items()),
        ],
        facts=[
            *((name.replace("_", " "), model) for name, model in models.items()),
            ("backend", f"{told.get('backend', '')}, {told.get('threads', '?')} threads"),
            ("camera", f"{live.rate:.0f} Hz, raw images over DDS"),
        ],
        latency=latency,
        series=[
            Series("stamp to mask", "ms", seconds, values),
            *(Series(noun, "", seconds, np.asarray(values, dtype=np.float64)) for noun, values in counts.items()),
        ],
        tables=[("Stages in the node, last ten seconds", ("stage", "p50 ms", "p99 ms"), rows)] if rows else (),
        notes=notes,
    )
