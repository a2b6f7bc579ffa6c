"""``rtseg run`` and ``rtseg replay``: recordings through the pipeline."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rtseg.options import (
    BackendOption,
    DeviceOption,
    IgnoreOption,
    JsonOption,
    ModelOption,
    OutOption,
    ThreadsOption,
    TopicOption,
)
from rtseg.printing import console, print_json

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline

app = typer.Typer()

RateOption = Annotated[
    float | None, typer.Option("--fps", help="Makes a stream of a folder of pictures, so many a second; else stills.")
]


LabelsOption = Annotated[
    Literal["tusimple", "culane", "coco", "labelme", "cvat"] | None,
    typer.Option(help="Also write what was found as labels, to be corrected in annotation tools and trained on."),
]


ViewOption = Annotated[
    str | None,
    typer.Option(
        help="rrd also writes result.rrd for the Rerun viewer (extra rerun); rerun shows it live, too, as does the URL "
        "of a viewer elsewhere: rerun+http://HOST:9876/proxy."
    ),
]


@app.command()
def run(
    source: Annotated[
        str, typer.Argument(help="Video, bag, image, folder of images, camera's index, or rtsp://... stream.")
    ],
    out: OutOption = Path("out/run"),
    topic: TopicOption = None,
    fps: RateOption = None,
    labels: LabelsOption = None,
    view: ViewOption = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Watch it in a window: s saves the frame and its labels to OUT/saved, space pauses, q ends."
        ),
    ] = False,
    model: ModelOption = "lanes-lite",
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write overlays of a video, a bag, pictures or a live camera."""
    from rtseg.lab.replay.replay import SAVED, run_overlays
    from rtseg.lab.replay.window import Window
    from rtseg.loading import load
    from rtseg.media import open_frames

    with open_frames(source, topic, fps) as frames:
        pipeline = load(model, device=device, backend=backend, threads=threads, ignore=ignore)
        with Window(frames.name) if show else nullcontext() as window:
            overlays = run_overlays(frames, pipeline, out, labels=labels, view=view, window=window)
    _keep_mask(pipeline, out)
    if as_json:
        print_json(overlays)
        return
    for line in overlays.lines():
        console.print(line)
    _tell(out, labels, view)
    if show and (out / SAVED).is_dir():
        console.print(f"saved by key: {out / SAVED} (rtseg data check {out / SAVED})")


@app.command()
def replay(
    bag: Annotated[str, typer.Argument(help="ROS 1 or ROS 2 bag, video, or folder of images.")],
    out: OutOption = Path("out/replay"),
    model: ModelOption = "lanes-lite",
    topic: TopicOption = None,
    fps: RateOption = None,
    labels: LabelsOption = None,
    view: ViewOption = None,
    realtime: Annotated[
        bool, typer.Option(help="Keep the recorded rate and drop stale frames as the node does.")
    ] = False,
    camera: Annotated[Path | None, typer.Option(help="Camera YAML, where the bag has no camera_info.")] = None,
    lane_width: Annotated[
        float, typer.Option(min=1.5, max=7.0, help="Metres that lanes are wide there, to judge the camera's height by.")
    ] = 3.5,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recorded bag through the pipeline; writes a result bag, an overlay video and a report."""
    from rtseg.camera import Camera
    from rtseg.lab.replay.replay import replay as replay_source
    from rtseg.lanes.mounting import MountingSettings
    from rtseg.loading import load
    from rtseg.media import open_frames

    pipeline = load(model, device=device, backend=backend, threads=threads, ignore=ignore)
    with open_frames(bag, topic, fps) as frames:
        calibration = Camera.load(camera) if camera else None
        result = replay_source(
            frames,
            pipeline,
            out,
            realtime=realtime,
            camera=calibration,
            labels=labels,
            view=view,
            roads=MountingSettings(lane_width=lane_width),
        )
    _keep_mask(pipeline, out)
    if as_json:
        print_json(result)
        return
    console.print(result.table())
    if result.mounting is not None:
        console.print(f"mounting: {result.mounting.describe()}", highlight=False)
    console.print(f"report: {result.report}")
    _tell(out, labels, view)


def _keep_mask(pipeline: Pipeline, out: Path) -> None:
    """Write the mask that was learned, if any, for the next time."""
    if pipeline.learned is not None and pipeline.learned.found:
        pipeline.learned.save(out / "ignore.png")


def _tell(out: Path, labels: str | None, view: str | None) -> None:
    from rtseg.lab.replay.labels_out import FOLDER

    if labels:
        console.print(f"labels: {out / FOLDER} (rtseg train CONFIG --data {out / FOLDER})")
    if view:
        console.print(f"for the viewer: rerun {out / 'result.rrd'}")
