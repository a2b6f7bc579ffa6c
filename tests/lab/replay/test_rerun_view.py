"""A run for the Rerun viewer, written by the real SDK and read back by it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rtseg.camera import Camera
from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.lab.replay.replay import replay, run_overlays
from rtseg.lab.replay.rerun_view import FILE, RerunView
from rtseg.results import Instances
from tests.lab.replay.runs import HEIGHT, MILLISECOND, WIDTH, ColumnPipeline, ListSource, road

CAMERA = Path(__file__).resolve().parents[3] / "calibration" / "generic.yaml"


def read(path: Path) -> dict[str, int]:
    """Rows of each entity that has any, without those of the viewer's layout."""
    reader = pytest.importorskip("rerun.chunk", reason="the extra `rerun` is not installed").RrdReader(path)
    rows: Counter[str] = Counter()
    for chunk in reader.stream():
        rows[str(chunk.entity_path)] += chunk.num_rows
    return rows


def test_without_the_package_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    source = ListSource([Frame(road({1: 30}), stamp=0)])
    with pytest.raises(ConfigError, match=r"rtseg\[rerun\]"):
        run_overlays(source, ColumnPipeline(), tmp_path, progress=False, view="rrd")
    assert list(tmp_path.iterdir()) == []


def test_every_frame_with_its_lanes_on_the_image_and_on_the_ground(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    frames = [Frame(road({1: 30 + i, 2: 90}), stamp=i * 33 * MILLISECOND) for i in range(5)]
    replay(ListSource(frames), ColumnPipeline(), tmp_path, progress=False, camera=Camera.load(CAMERA), view="rrd")
    rows = read(tmp_path / FILE)
    for entity in (
        "camera/image",
        "camera/mask",
        "camera/lanes",
        "ground/lanes",
        "times/infer",
        "times/total",
        "found",
    ):
        assert rows[f"/{entity}"] == 5, entity


def test_objects_with_boxes_and_tracks(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[10:20, 30:50] = 1
    one = Instances(
        labels=labels,
        ids=np.array([100_000], np.int32),
        class_ids=np.array([7], np.int32),
        scores=np.array([np.nan], np.float32),
        boxes=np.array([[30, 10, 50, 20]], np.float32),
        areas=np.array([200]),
        centers=np.array([[39.5, 14.5]], np.float32),
        times={"infer": 1.0},
    )
    nothing = Instances(
        np.zeros_like(labels),
        *(array[:0] for array in (one.ids, one.class_ids, one.scores, one.boxes, one.areas, one.centers)),
    )
    with RerunView(tmp_path, "a \x1b drive", classes=("car",)) as view:
        for result in (one, nothing, one):
            view.write(Frame(image), result)
    rows = read(tmp_path / FILE)
    assert all(rows[f"/camera/{entity}"] == 3 for entity in ("image", "mask", "objects", "tracks"))


def test_a_run_that_fails_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    with pytest.raises(RuntimeError), RerunView(tmp_path, "drive"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
