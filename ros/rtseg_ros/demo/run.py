"""The whole system live: a player, a node and a recorder, each in its own process, over DDS on this machine."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from rtseg.camera import Camera
from rtseg.errors import RtsegError
from rtseg.runtime import find_model
from rtseg_ros.demo.drive import render_drive
from rtseg_ros.demo.live import run_live
from rtseg_ros.demo.products import Summary, write_products
from rtseg_ros.demo.tasks import LANES, TASKS

__all__ = ["run_demo"]

SEED = 11
FPS = 30.0


def run_demo(
    input: Path | None = None,
    out: Path = Path("out/demo"),
    model: str | None = None,
    seconds: float = 15.0,
    camera: Path | None = None,
    task: str = "lanes",
    instances_model: str | None = None,
    topic: str | None = None,
) -> Summary:
    """Drive a node with a recording, or a rendered road or street, and write what came of it.

    Writes ``overlay.mp4``, ``result.mcap`` and ``report.html`` into `out`.

    Args:
        input: bag, video or pictures; None renders a drive of `seconds`.
        out: folder for the products.
        model: bundled model, or folder of one's own; by default lanes-lite or instances-lite, as the task asks for.
        seconds: length of the rendered drive; a recording is played whole.
        camera: calibration of `input`'s camera, for points on the ground.
        task: lanes, instances or both (one node, each frame received once).
        instances_model: of both, besides `model` for the lanes.
        topic: image topic of `input`, where it is a bag of several cameras.

    Raises:
        RtsegError: rclpy is not installed, there is no such task or model, `topic` is given without a bag or
            `instances_model` for another task, the input cannot be read, or one of the processes ended or hung; the
            message holds the end of its log.
    """
    if find_spec("rclpy") is None or find_spec("rtseg_ros") is None:
        raise RtsegError("expected rclpy for the live demo, but it is not installed; pip install 'rtseg[ros]'")
    if task not in TASKS:
        raise RtsegError(f"expected a task of {', '.join(TASKS)}, got {task!r}")
    if topic is not None and input is None:
        raise RtsegError(f"expected --input with a bag to read topic {topic} from, got none; leave the topic out")
    chosen = TASKS[task]
    names = list(chosen.models)
    if instances_model and len(names) == 1:
        raise RtsegError(f"expected --instances-model with task both, got one for {task}; name it with --model")
    models = {**chosen.models, **({names[0]: model} if model else {})}
    if instances_model:
        models[names[-1]] = instances_model
    for name in models.values():
        find_model(name)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rtseg-demo-") as name:
        folder = Path(name)
        if input is None:
            source, camera = render_drive(folder, SEED, seconds, FPS, street=chosen is not LANES)
            title = f"rendered drive, {seconds:.0f} s"
        else:
            source, title = input, input.name
        live = run_live(source, folder, models, camera, chosen, topic)
        calibration = Camera.load(camera) if camera else None
        return write_products(source, live, out, title, models, calibration, chosen)
