"""Recordings become a set: each labelled once, those without a line left out and named."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.lab.data.tusimple import read_labels
from rtseg.lab.render import Drive
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lab.weak.recordings import label_recordings

SIZE = (288, 512)


def write(path: Path, images: list[np.ndarray]) -> None:
    writer = VideoWriter(path, 30.0, SIZE)
    for image in images:
        writer.write(image)
    writer.close()


@pytest.mark.slow
def test_recordings_become_one_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    videos, out = tmp_path / "videos", tmp_path / "labels"
    videos.mkdir()
    roads = [road.image for road in Drive(4, seconds=0.4, fps=30, size=SIZE)]
    write(videos / "road.mp4", roads)
    write(videos / "night.mp4", [np.zeros((*SIZE, 3), np.uint8)] * 8)
    (videos / "README.md").write_text("no recording")
    with caplog.at_level(logging.WARNING, "rtseg"):
        label_recordings("lanes-lite", videos, out, 0.3)
    assert "night.mp4: left out" in caplog.text
    found = read_labels(out)
    assert found
    assert all(label.image.is_file() and label.image.is_relative_to(out / "road") for label in found)
    with_before = [label.name for label in found]
    (out / "labels.json").unlink()
    (videos / "road.mp4").write_bytes(b"")  # what was labelled is not read again
    label_recordings("lanes-lite", videos, out, 0.3)
    assert [label.name for label in read_labels(out)] == with_before


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(DatasetError, match="expected recordings with lanes that lanes-lite is sure of"):
        label_recordings("lanes-lite", tmp_path / "videos", tmp_path / "out", 0.8)
