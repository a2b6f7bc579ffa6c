"""The drive that the demo plays when it is given none: rendered in advance, so that painting disturbs no figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rtseg.camera import Camera, Mount
from rtseg.lab.render import Drive, RenderedRoad, RenderedStreet, StreetDrive
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.progress import Bars

SIZE = (720, 1280)


def render_drive(folder: Path, seed: int, seconds: float, fps: float, street: bool = False) -> tuple[Path, Path]:
    """Render a drive to ``drive.mp4`` and its calibration to ``camera.yaml`` in `folder`; gives both paths.

    With `street` it leads through a street with cars, people and bicycles.
    """
    drive: Drive | StreetDrive = StreetDrive(seed, seconds, fps, SIZE) if street else Drive(seed, seconds, fps, SIZE)
    video, calibration = folder / "drive.mp4", folder / "camera.yaml"
    with VideoWriter(video, fps, SIZE) as writer, Bars() as bar:
        frames: Iterable[RenderedRoad | RenderedStreet] = drive
        for frame in bar.track(frames, total=len(drive), description="painting the drive"):
            writer.write(frame.image)
    seen = drive.camera
    mount = Mount(height=seen.mount.height, pitch=seen.mount.pitch, roll=seen.mount.roll, yaw=seen.mount.yaw)
    Camera(width=seen.width, height=seen.height, K=seen.K, distortion=seen.distortion, mount=mount).save(calibration)
    return video, calibration
