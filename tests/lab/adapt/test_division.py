"""Recordings are divided in time, and what is judged by is no neighbor of what is learned from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.frame import Frame
from rtseg.lab.adapt.clips import SIDE, clips
from rtseg.lab.adapt.division import LEAST_GAP, divide
from rtseg.lab.fleet.shards import PartSource
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.media import open_frames


def video(path: Path, seconds: float) -> Path:
    with VideoWriter(path, 2.0, (64, 96)) as writer:
        for i in range(round(2 * seconds)):
            writer.write(np.full((64, 96, 3), 40 + i, np.uint8))
    return path


def test_the_last_quarter_is_kept_back_after_a_gap(tmp_path: Path) -> None:
    long, short = divide([video(tmp_path / "long.mp4", 48.0), video(tmp_path / "short.mp4", 5.0)])
    assert long.held_back is not None
    with open_frames(long.path) as source:
        learned, held_back = (
            [frame.stamp or 0 for frame in PartSource(source, part)] for part in (long.learned, long.held_back)
        )
    assert learned[0] == 0
    assert len(held_back) == pytest.approx(24, abs=1)
    assert (held_back[0] - learned[-1]) / 1e9 >= LEAST_GAP
    assert short.held_back is None
    with open_frames(short.path) as source:
        assert len(list(PartSource(source, short.learned))) == 10


def test_too_little_to_keep_back_and_pictures_without_time_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected 40 seconds of driving or more"):
        divide([video(tmp_path / "short.mp4", 20.0)])
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="a bag or a video"):
        divide([tmp_path / "pictures"])


def test_clips_share_no_frame_and_skip_gaps() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    times = [*np.arange(0, 4, 1 / 30), *np.arange(9, 12, 1 / 30)]
    found = list(clips([Frame(image, stamp=round(t * 1e9)) for t in times], "drive", 1.1))
    stamps = [[frame.stamp or 0 for frame in clip.frames] for clip in found]
    assert len(found) >= 5
    for clip in stamps:
        assert len(clip) == 2 * SIDE + 1
        assert np.allclose(np.diff(clip) / 1e9, 0.1, atol=0.035)
    assert all(a[-1] < b[0] for a, b in pairwise(stamps))
    assert not list(clips([Frame(image, stamp=i * 10**9) for i in range(30)], "slow", 1.1))
