"""The examples run as they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import bag_replay, own_grouping, stills, video_tracking
from rtseg.media import open_frames


def test_stills(tmp_path: Path) -> None:
    found = stills.main([], tmp_path)
    assert all(len(lanes) >= 2 for lanes in found.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["road-1.png", "road-4.png"]
    again = stills.main([str(tmp_path / "road-1.png")], tmp_path / "again")
    assert list(again) == ["road-1"]


@pytest.mark.slow
def test_video_tracking(tmp_path: Path) -> None:
    seen = video_tracking.main([], tmp_path)
    assert sum(count >= 20 for count in seen.values()) >= 2, "lines keep their ids"
    with open_frames(tmp_path / "lanes.mp4") as frames:
        assert len(list(frames)) == 30


@pytest.mark.slow
def test_bag_replay(tmp_path: Path) -> None:
    result = bag_replay.main([], tmp_path)
    assert result.frames == 15
    assert all(path.stat().st_size > 1000 for path in (result.bag, result.video, result.report))


def test_own_grouping(tmp_path: Path) -> None:
    labels, theirs = own_grouping.main([], tmp_path)
    assert labels.max() > 0
    assert len(theirs) > 0
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
