"""A teacher's labels: near the truth, only where it agrees with itself, and readable by the training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import rtseg
from rtseg.errors import DatasetError, WeakSupervisionError
from rtseg.frame import Frame
from rtseg.lab.data.tusimple import read_labels
from rtseg.lab.render.drive import Drive
from rtseg.lab.training.lanes.datasets import LaneDataset, load_real
from rtseg.lab.training.lanes.targets import SampleShape
from rtseg.lab.weak.teacher import TeacherSettings, label_lanes
from rtseg.media import FrameSource
from rtseg.runtime import Pipeline

SIZE = (288, 512)


class Pictures(FrameSource):
    """Frames from memory, thirty a second."""

    def __init__(self, images: list[np.ndarray]) -> None:
        super().__init__("pictures", count=len(images))
        self.images = images

    def _frames(self) -> Iterator[Frame]:
        for i, image in enumerate(self.images):
            yield Frame(image, stamp=round(i * 1e9 / 30))


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive(4, seconds=0.4, fps=30, size=SIZE)


@pytest.fixture
def model() -> Iterator[Pipeline]:
    pipeline = rtseg.load("lanes-lite", backend="onnxruntime", threads=1)  # the same lines on every CPU
    yield pipeline
    pipeline.close()


def test_trusted_lines_are_lines_of_the_road(drive: Drive, model: Pipeline, tmp_path: Path) -> None:
    roads = list(drive)
    reported: list[tuple[int, int]] = []
    settings = TeacherSettings(every=3, window=2)
    source = Pictures([road.image for road in roads])
    summary = label_lanes(source, model, tmp_path, settings, lambda done, of: reported.append((done, of)))
    labels = read_labels(tmp_path)
    assert summary.frames == len(roads) == len(reported)
    assert reported[-1] == (len(roads), len(roads))
    assert summary.labelled == len(labels) == 3  # frames 2, 5 and 8 of 12, with two on each side
    assert summary.lines == sum(len(label.lanes) for label in labels) >= 6
    for label in labels:
        road = roads[int(label.image.stem.removeprefix("frame_"))]
        for line in label.polylines():
            distances = [
                np.hypot(*(line[:, None] - true[None]).transpose(2, 0, 1)).min(1).mean() for true in road.lanes
            ]
            assert min(distances) < 0.02 * SIZE[1]
    assert cv2.imread(str(tmp_path / "sheet.jpg")) is not None
    ids = LaneDataset(load_real([tmp_path]), SampleShape(size=(96, 160), mean=(0,) * 3, std=(1,) * 3))[0][1]
    assert len(np.unique(ids.numpy())) >= 3


def test_pictures_that_have_nothing_to_do_with_each_other_are_not_trusted(model: Pipeline, tmp_path: Path) -> None:
    images = [next(iter(Drive(seed, seconds=0.1, fps=10, size=SIZE))).image for seed in range(6)]
    shifted = [np.roll(image, 60 * (i % 3), axis=1) for i, image in enumerate(images)]
    with pytest.raises(WeakSupervisionError, match="found none in 6 frames"):
        label_lanes(Pictures(shifted), model, tmp_path, TeacherSettings(every=1, window=2))
    assert not (tmp_path / "labels.json").exists()


def test_what_the_teacher_is_not_sure_of_is_ignored(drive: Drive, model: Pipeline, tmp_path: Path) -> None:
    images = [next(iter(drive)).image] * 5
    found = model(images[0]).confidence
    between = float(np.sort(found)[:2].mean())
    settings = TeacherSettings(every=1, window=1, confidence=between)
    summary = label_lanes(Pictures(images), model, tmp_path, settings)
    assert summary.ignored["not sure"] == 3
    assert all(len(label.ignored) >= 1 and len(label.lanes) < len(found) for label in read_labels(tmp_path))


def test_too_few_frames_black_ones_and_none(model: Pipeline, tmp_path: Path) -> None:
    black = np.zeros((*SIZE, 3), np.uint8)
    for images in ([], [black], [black] * 9):
        with pytest.raises(WeakSupervisionError, match="is it a drive"):
            label_lanes(Pictures(images), model, tmp_path)


def test_bad_settings_and_folders_are_refused(model: Pipeline, tmp_path: Path) -> None:
    for wrong in ({"every": 0}, {"window": 0}, {"distance": -0.1}, {"confidence": float("nan")}):
        with pytest.raises(WeakSupervisionError, match=next(iter(wrong))):
            TeacherSettings(**wrong)  # type: ignore[arg-type]
    (tmp_path / "labels.json").touch()
    with pytest.raises(WeakSupervisionError, match="holds labels"):
        label_lanes(Pictures([]), model, tmp_path)
    other = rtseg.load("instances-lite", threads=1)
    with pytest.raises(WeakSupervisionError, match="lane model"):
        label_lanes(Pictures([]), other, tmp_path)
    other.close()


def test_ignored_lines_are_neither_line_nor_background(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((96, 160, 3), np.uint8))
    rows = list(range(0, 96, 8))
    label = '{"raw_file": "a.png", "h_samples": %s, "lanes": [%s], "ignored": [%s]}'
    (tmp_path / "labels.json").write_text(label % (rows, [40] * len(rows), [120] * len(rows)))
    (frame,) = load_real([tmp_path])
    ids = LaneDataset([frame], SampleShape(size=(96, 160), mean=(0,) * 3, std=(1,) * 3))[0][1].numpy()
    assert set(ids[:80, 40]) == {1}
    assert set(ids[:80, 120]) == {255}
    assert not ids[:, 80].any()
    (tmp_path / "labels.json").write_text(label % (rows, [40] * len(rows), [120]))
    with pytest.raises(DatasetError, match=r"ignored\[0\]"):
        load_real([tmp_path])
