"""Lanes of a video, each with an id that stays: ``python examples/video_tracking.py [VIDEO]``, else a rendered one."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import rtseg
from rtseg.lab.render import Drive
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.media import draw_lanes, open_frames

FPS = 10.0


def render_video(path: Path, seconds: float = 3.0) -> Path:
    """Write a drive on a rendered road as a video."""
    with VideoWriter(path, FPS, (360, 640)) as video:
        for road in Drive(seed=3, seconds=seconds, fps=FPS, size=(360, 640)):
            video.write(road.image)
    return path


def follow(video: Path, out: Path) -> Counter[int]:
    """Write the video with its lanes; gives in how many frames each line was seen."""
    pipeline = rtseg.load("lanes-lite")
    seen: Counter[int] = Counter()
    with open_frames(video) as frames:  # the frames of a video have stamps: they are a stream, and ids go on
        overlay: VideoWriter | None = None
        for frame in frames:
            lanes = pipeline(frame)
            assert isinstance(lanes, rtseg.Lanes)
            seen.update(lanes.ids.tolist())
            overlay = overlay or VideoWriter(out, frames.fps or FPS, frame.size)
            overlay.write(draw_lanes(frame.image, lanes))
        if overlay is not None:
            overlay.close()
    return seen


def main(videos: list[str], out: Path = Path("out/video")) -> Counter[int]:
    """Take the video that is named, or render one."""
    seen = follow(Path(videos[0]) if videos else render_video(out / "drive.mp4"), out / "lanes.mp4")
    for identity, count in seen.most_common():
        print(f"line {identity} in {count} frames")
    return seen


if __name__ == "__main__":
    main(sys.argv[1:])
