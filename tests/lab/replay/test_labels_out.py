"""What was found, written as labels and read back as training and evaluation read it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ConfigError, MediaError
from rtseg.frame import Frame
from rtseg.lab.data.instance_folders import read_instances
from rtseg.lab.data.lane_labels import check_pictures, read_lane_labels
from rtseg.lab.replay.labels_out import LabelKind, LabelWriter
from rtseg.lab.replay.replay import replay, run_overlays
from rtseg.lab.scores.lanes.evaluate import evaluate_lanes
from rtseg.media import open_frames
from rtseg.media.images import write_image
from rtseg.results import Instances, Lanes
from tests.lab.replay.runs import HEIGHT, WIDTH, ColumnPipeline, ListSource, drive, road

LANES = ("tusimple", "culane", "labelme", "cvat")
OBJECTS = ("coco", "labelme", "cvat")
READS_MASKS = pytest.mark.skipif(
    find_spec("pycocotools") is None, reason="COCO's masks need pycocotools (the extra `scores`)"
)


@pytest.mark.parametrize("kind", LANES)
@pytest.mark.parametrize("run", [run_overlays, replay])
def test_lanes_come_back_as_they_were_found(tmp_path: Path, kind: LabelKind, run) -> None:
    columns = [{1: 30 + i, 2: 90} if i != 2 else {} for i in range(5)]
    run(drive(columns), ColumnPipeline(), tmp_path, progress=False, labels=kind)
    labels = read_lane_labels(tmp_path / "labels", "train")
    check_pictures(labels)
    assert len(labels) == 5
    for label, column in zip(labels, columns, strict=True):
        lines = label.polylines()
        assert len(lines) == len(column)
        for line, x in zip(sorted(lines, key=lambda line: line[0, 0]), sorted(column.values()), strict=True):
            np.testing.assert_allclose(line[:, 0], x, atol=0.51)
            assert line[0, 1] == pytest.approx(HEIGHT // 2, abs=1)
            assert line[-1, 1] == pytest.approx(HEIGHT - 1, abs=1)
    image = cv2.imread(str(labels[0].image))
    assert np.abs(image.astype(int) - road(columns[0])).mean() < 3


def test_what_was_found_scores_perfectly_against_itself(tmp_path: Path) -> None:
    class Fixed(ColumnPipeline):
        """JPEG blurs the columns' colors, which are ids; what was found at first is given again."""

        def __call__(self, frame: Frame) -> Lanes:
            return super().__call__(Frame(road({1: 30, 2: 90}), frame.stamp))

    for kind in LANES:
        run_overlays(drive([{1: 30, 2: 90}] * 2), Fixed(), tmp_path / kind, progress=False, labels=kind)
        result = evaluate_lanes(Fixed(), "labelled", tmp_path / kind / "labels", progress=False)
        assert result.culane.f1 == 1
        assert result.tusimple.accuracy == 1


def found(labels: np.ndarray, kinds: list[int]) -> Instances:
    n = len(kinds)
    boxes = np.zeros((n, 4), np.float32)
    for i in range(n):
        y, x = np.nonzero(labels == i + 1)
        boxes[i] = (x.min(), y.min(), x.max() + 1, y.max() + 1)
    areas = np.bincount(labels.ravel(), minlength=n + 1)[1:].astype(np.int64)
    ids, scores = np.arange(1, n + 1, dtype=np.int32), np.ones(n, np.float32)
    return Instances(labels, ids, np.array(kinds, np.int32), scores, boxes, areas, np.zeros((n, 2), np.float32))


@READS_MASKS
@settings(max_examples=20)
@given(st.data())
def test_objects_come_back_almost_to_the_pixel(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    labels = np.zeros((60, 90), np.int32)
    count = data.draw(st.integers(0, 4))
    for i in range(count):
        y, x = data.draw(st.integers(0, 50)), 22 * i + data.draw(st.integers(0, 8))
        labels[y : y + data.draw(st.integers(2, 20)), x : x + data.draw(st.integers(2, 12))] = i + 1
    if count:
        labels[58:, 0] = 0
        labels[0:2, 88:] = 1  # a second part of the first
    kinds = [data.draw(st.integers(0, 1)) for _ in range(count)]
    for kind in OBJECTS:
        folder = tmp_path_factory.mktemp(kind)
        with LabelWriter(folder, kind, ("pallet", "forklift"), "instances") as writer:
            writer.write(Frame(np.zeros((60, 90, 3), np.uint8)), found(labels, kinds))
        if not count and kind != "coco":
            continue
        (frame,) = read_instances(folder / "labels", ("pallet", "forklift"))
        assert frame.image().shape == (60, 90, 3)
        truth = frame.truth()
        assert truth.class_ids.tolist() == kinds
        for i in range(count):
            a, b = labels == i + 1, truth.instances == i + 1
            assert np.count_nonzero(a & b) >= 0.9 * np.count_nonzero(a | b)


@READS_MASKS
def test_names_and_classes_of_anyones_choice(tmp_path: Path) -> None:
    names = ["a/1.png", "b/1.png", "c: d|[x]\n.png", "_.png"]
    for name in names:
        write_image(tmp_path / "in" / name, road({1: 30}))
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[10:30, 10:40] = 1
    hostile = '<b>&"[/red]'
    for kind in OBJECTS:
        with LabelWriter(tmp_path / kind, kind, (hostile,)) as writer:
            for frame in open_frames(tmp_path / "in" / "**" / "*.png"):
                writer.write(frame, found(labels, [0]))
        frames = read_instances(tmp_path / kind / "labels")
        assert len(frames) == 4
        assert len({frame.name for frame in frames}) == 4
        assert all(len(frame.truth()) == 1 for frame in frames)


@pytest.mark.parametrize("kind", get_args(LabelKind))
def test_kinds_that_cannot_hold_it_are_refused(tmp_path: Path, kind: LabelKind) -> None:
    for task, fitting in (("lanes", LANES), ("instances", OBJECTS)):
        if kind in fitting:
            continue
        with pytest.raises(ConfigError, match="--labels"):
            LabelWriter(tmp_path, kind, task=task)
    if kind == "coco":
        with pytest.raises(ConfigError, match="tusimple, culane, labelme, cvat"):
            run_overlays(drive([{1: 30}]), ColumnPipeline(), tmp_path / "out", progress=False, labels=kind)
        assert not (tmp_path / "out").exists()


def test_corrected_labels_are_not_overwritten_and_half_ones_not_left(tmp_path: Path) -> None:
    run_overlays(drive([{1: 30}]), ColumnPipeline(), tmp_path, progress=False, labels="labelme")
    (file,) = (tmp_path / "labels").glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "shapes": []}))
    with pytest.raises(MediaError, match="corrected"):
        run_overlays(drive([{1: 30}]), ColumnPipeline(), tmp_path, progress=False, labels="labelme")
    assert json.loads(file.read_text())["shapes"] == []

    class Broken(ListSource):
        """Fails after two frames."""

        def _frames(self):
            yield from super()._frames()
            raise MediaError("expected more, got none; check it")

    source = Broken([Frame(road({1: 30}), i) for i in range(2)])
    with pytest.raises(MediaError, match="more"):
        run_overlays(source, ColumnPipeline(), tmp_path / "b", progress=False, labels="cvat")
    assert not (tmp_path / "b").exists()
