"""Stills are no stream: each result is as if it came alone, and a stream does not notice stills between its frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rtseg
from rtseg.frame import Frame
from rtseg.lab.data.tusimple import read_labels
from rtseg.media import open_frames
from rtseg.media.images import write_image
from rtseg.results import Instances, Lanes
from rtseg.runtime import Pipeline
from tests.instance_networks import paint, write_instance_model
from tests.threshold_network import two_lane_road, write_threshold_model

STEP = 33_000_000


def roads() -> list[np.ndarray]:
    """Roads with two lines at several places, with a third one, and without any."""
    third = two_lane_road()
    third[60:, 120:134] = (255, 0, 0)
    return [two_lane_road(), np.roll(two_lane_road(), 40, axis=1), third, np.zeros_like(third)]


def streets() -> list[np.ndarray]:
    boxes = [(0, 0, (8, 8, 32, 40)), (1, 2, (64, 32, 80, 56)), (0, 1, (40, 8, 56, 40))]
    return [paint(boxes[:count])[0] for count in (3, 2, 1, 0)] + [np.roll(paint(boxes)[0], 24, axis=1)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {"lanes": write_threshold_model(folder / "lanes"), "instances": write_instance_model(folder / "instances")}


def assert_same(one: Lanes | Instances, other: Lanes | Instances) -> None:
    pairs: Iterable[tuple[np.ndarray, np.ndarray]] = ((one.ids, other.ids),)
    if isinstance(one, Lanes):
        assert isinstance(other, Lanes)
        pairs = [*pairs, (one.mask, other.mask), (one.confidence, other.confidence)]
        pairs += list(zip(one.polylines, other.polylines, strict=True))
    else:
        assert isinstance(other, Instances)
        pairs = [*pairs, (one.labels, other.labels), (one.class_ids, other.class_ids), (one.scores, other.scores)]
    for mine, yours in pairs:
        np.testing.assert_array_equal(mine, yours)


def alone(model: Path, pictures: list[np.ndarray]) -> list[Lanes | Instances]:
    results = []
    for picture in pictures:
        pipeline = rtseg.load(model)
        results.append(pipeline(picture))
        pipeline.close()
    return results


@pytest.mark.parametrize("task", ["lanes", "instances"])
def test_pictures_in_any_order_give_what_each_gives_alone(models: dict[str, Path], task: str) -> None:
    pictures = roads() if task == "lanes" else streets()
    expected = alone(models[task], pictures)
    pipeline = rtseg.load(models[task])

    @given(order=st.lists(st.integers(0, len(pictures) - 1), max_size=12))
    @settings(max_examples=20)
    def check(order: list[int]) -> None:
        for number in order:
            found = pipeline(pictures[number])
            assert_same(found, expected[number])
            assert found.stamp is None
            assert found.ids.tolist() == list(range(1, len(found) + 1))

    check()


@pytest.mark.parametrize("task", ["lanes", "instances"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_stream_does_not_notice_stills_between_its_frames(models: dict[str, Path], task: str, streamed: bool) -> None:
    pictures = roads() if task == "lanes" else streets()
    stream = [Frame(np.roll(pictures[0], 2 * i, axis=1), stamp=i * STEP) for i in range(8)]
    pipeline = rtseg.load(models[task])
    undisturbed = [pipeline(frame) for frame in stream]
    pipeline.reset()
    mixed = [each for i, frame in enumerate(stream) for each in (frame, Frame(pictures[i % len(pictures)]))]
    found = list(pipeline.stream(mixed)) if streamed else [pipeline(frame) for frame in mixed]
    of_stills = [result for result in found if result.stamp is None]
    for one, other in zip([result for result in found if result.stamp is not None], undisturbed, strict=True):
        assert_same(one, other)
    expected = alone(models[task], pictures)
    for i, result in enumerate(of_stills):
        assert_same(result, expected[i % len(pictures)])


def test_a_folder_of_pictures_is_stills_and_with_a_rate_a_stream(models: dict[str, Path], tmp_path: Path) -> None:
    for i, picture in enumerate(roads()):
        write_image(tmp_path / f"{i}.png", picture)
    pipeline: Pipeline = rtseg.load(models["lanes"])
    with open_frames(tmp_path) as frames:
        found = list(pipeline.stream(frames))
    for result, expected in zip(found, alone(models["lanes"], roads()), strict=True):
        assert_same(result, expected)
    with open_frames(tmp_path, fps=20) as frames:
        assert [result.stamp for result in pipeline.stream(frames)] == [0, 50_000_000, 100_000_000, 150_000_000]


@pytest.mark.slow
def test_real_unrelated_pictures_give_what_each_gives_alone(driving_data: Path) -> None:
    folder = driving_data / "lanes" / "tusimple_val"
    pictures = [cv2.imread(str(label.image)) for label in read_labels(folder / "labels.json")]
    pipeline, fresh = rtseg.load("lanes-lite"), rtseg.load("lanes-lite")
    for picture in [*pictures, np.zeros_like(pictures[0])]:
        fresh.reset()
        assert_same(pipeline(picture), fresh(Frame(picture, stamp=0)))
