"""`rtseg run` and `rtseg replay` with an instance model: the same code as for lanes, other results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from rtseg.lab.replay.replay import replay, run_overlays
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.loading import load
from rtseg.media import open_frames
from tests.instance_networks import paint, write_instance_model

FRAMES = 12


def _video(path: Path) -> Path:
    with VideoWriter(path, 30, (64, 128)) as writer:
        for step in range(FRAMES):
            writer.write(paint([(1, 0, (64, 8, 112, 40)), (0, 1, (8 + 4 * step, 24, 24 + 4 * step, 56))])[0])
    return path


def test_replay_writes_bag_overlay_and_report(tmp_path: Path) -> None:
    pipeline = load(write_instance_model(tmp_path / "model"), backend="onnxruntime", threads=1)
    with open_frames(_video(tmp_path / "drive.mp4")) as source:
        result = replay(source, pipeline, tmp_path / "out", progress=False)
    assert result.frames == FRAMES
    assert {row.stage for row in result.latency} >= {"group", "describe", "track"}
    with result.bag.open("rb") as file:
        masks = [
            np.frombuffer(ros.data, "<u2")
            for _, _, _, ros in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages(
                topics=["/instances/instance_mask"]
            )
        ]
    assert len(masks) == FRAMES
    assert all(set(np.unique(mask)) - {0} == {1, 2} for mask in masks)  # ids stay
    assert result.report.read_text().count("data:image/") > 3
    with open_frames(result.video) as overlay:
        assert sum(1 for _ in overlay) == FRAMES


def test_run_draws_every_frame(tmp_path: Path) -> None:
    pipeline = load(write_instance_model(tmp_path / "model"), backend="onnxruntime", threads=1)
    with open_frames(_video(tmp_path / "drive.mp4")) as source:
        written = run_overlays(source, pipeline, tmp_path / "out", progress=False)
    with open_frames(written.path) as overlay:
        frames = [frame.image for frame in overlay]
    assert len(frames) == FRAMES
    plain = paint([(1, 0, (64, 8, 112, 40))])[0]
    assert np.abs(frames[0].astype(int) - plain)[40:].mean() > 5
