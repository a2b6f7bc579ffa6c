"""Free masks on feature maps with known objects, exemplars from known pictures, and their scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, WeakSupervisionError
from rtseg.lab.scores.instances.coco_ap import EXEMPLAR_BANDS, coco_ap
from rtseg.lab.scores.instances.overlaps import ScoredTruth, overlaps
from rtseg.lab.training.exemplar.files import PictureMasks, mask_sheet, write_masks
from rtseg.lab.weak.exemplar.pool import PoolSettings, build_pool, coarse_object
from rtseg.lab.weak.exemplar.score import mask_overlaps_of
from rtseg.lab.weak.free_masks import FreeMasks, FreeMaskSettings, free_masks
from rtseg.media.images import write_image

SETTINGS = FreeMaskSettings(width=64, height=64, scales=(1.0, 0.5), thresholds=(0.5,), least_area=0.002)


def draw_features(labels: NDArray[np.int32], seed: int = 0) -> NDArray[np.float32]:
    """A direction of its own for each label, and noise."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(16, 16)))[0][: labels.max() + 1]
    features = directions[labels].transpose(2, 0, 1) + rng.normal(0, 0.05, (16, *labels.shape))
    return features.astype(np.float32)


@pytest.fixture
def scene() -> NDArray[np.int32]:
    """Two things on a ground, the second of the same kind on both sides."""
    labels = np.zeros((24, 32), np.int32)
    labels[4:10, 4:12] = 1
    labels[14:20, 3:9] = 2
    labels[14:20, 20:28] = 2
    return labels


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def find(features: NDArray[np.float32], size: tuple[int, int] | None = None) -> FreeMasks:
    (found,) = free_masks(features, SETTINGS, size)
    return found


def test_things_are_found_each_by_itself(scene: NDArray[np.int32]) -> None:
    found = find(draw_features(scene))
    halves = [(scene == 2) & (np.arange(32) < 16), (scene == 2) & (np.arange(32) >= 16)]
    for thing in (scene == 1, *halves):
        assert max(iou(mask, thing) for mask in found.masks) > 0.9
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-5)
    assert all(mask.mean() <= SETTINGS.most_area for mask in found.masks)  # the ground is no object
    kept = [iou(a, b) for i, a in enumerate(found.masks) for b in found.masks[:i]]
    assert max(kept) <= SETTINGS.coincide


def test_each_threshold_gives_masks_of_its_own(scene: NDArray[np.int32]) -> None:
    features = draw_features(scene)
    found = free_masks(features, SETTINGS.replaced(thresholds=(0.3, 0.5)))
    alone = find(features)
    np.testing.assert_array_equal(found[1].masks, alone.masks)
    assert len(found) == 2
    assert len(free_masks(features, SETTINGS.replaced(candidates=1))[0]) == 1


def test_masks_at_the_size_asked_for(scene: NDArray[np.int32]) -> None:
    found = find(draw_features(scene), (96, 128))
    large = cv2.resize((scene == 1).astype(np.uint8), (128, 96), interpolation=cv2.INTER_NEAREST) > 0
    assert found.masks.shape[1:] == (96, 128)
    assert max(iou(mask, large) for mask in found.masks) > 0.8


def test_mirrored_features_give_mirrored_masks(scene: NDArray[np.int32]) -> None:
    features = draw_features(scene)
    plain, mirrored = find(features), find(features[:, :, ::-1].copy())
    for thing in (scene == 1, scene == 2):
        best = max(iou(mask, thing) for mask in plain.masks)
        assert max(iou(mask[:, ::-1], thing) for mask in mirrored.masks) == pytest.approx(best, abs=0.1)


@pytest.mark.parametrize("features", [np.ones((4, 6, 8)), np.zeros((4, 6, 8)), np.ones((1, 1, 1))])
def test_where_nothing_stands_out(features: NDArray[np.float64]) -> None:
    assert len(find(features.astype(np.float32))) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"thresholds": ()},
        {"thresholds": (0.5, 1.0)},
        {"scales": ()},
        {"crops": -1},
        {"again": 1.5},
        {"overlap": -0.1},
        {"width": 100},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        FreeMaskSettings(**wrong)


def test_features_that_do_not_fit() -> None:
    for bad in (np.zeros((4, 6), np.float32), np.zeros((0, 6, 8), np.float32), np.full((4, 6, 8), np.nan, np.float32)):
        with pytest.raises(WeakSupervisionError, match="finite features"):
            free_masks(bad, SETTINGS)


def draw_disc() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    mask = np.zeros((80, 100), np.uint8)
    cv2.circle(mask, (52, 40), 22, 1, -1)
    noise = np.random.default_rng(0).normal(0, 8, (80, 100, 3))
    image = np.where(mask[..., None] > 0, (40, 40, 210), (150, 150, 140)) + noise
    return np.clip(image, 0, 255).astype(np.uint8), mask > 0


def test_grabcut_finds_a_disc_and_nothing_in_one_color() -> None:
    image, disc = draw_disc()
    assert iou(coarse_object(image, PoolSettings()), disc) > 0.9
    assert not coarse_object(np.full((40, 40, 3), 90, np.uint8), PoolSettings()).any()


def test_pool_keeps_what_the_model_agrees_with(tmp_path: Path) -> None:
    image, _ = draw_disc()
    write_image(tmp_path / "disc.png", image)
    settings = PoolSettings(count=3, crop=(0.9, 1.0), coverage=(0.05, 0.9))

    def sees_red(region: NDArray[np.uint8]) -> NDArray[np.bool_]:
        red = region[..., 2] > region[..., 0].astype(int) + 60
        return np.stack([~red, red])

    summary = build_pool([tmp_path / "disc.png"], tmp_path / "pool", settings, sees_red, seed=1)
    assert summary["exemplars"] == 3
    rows = json.loads((tmp_path / "pool" / "pool.json").read_text())
    assert [row["file"] for row in rows] == ["0000.png", "0001.png", "0002.png"]
    exemplar = cv2.imread(str(tmp_path / "pool" / "0000.png"), cv2.IMREAD_UNCHANGED)
    assert exemplar is not None
    inside = exemplar[exemplar[..., 3] > 0]
    assert (inside[:, 2].astype(int) > inside[:, 0].astype(int) + 60).all()
    assert (tmp_path / "pool" / "sheet.png").is_file()
    with pytest.raises(WeakSupervisionError, match="the model saw another object or none"):
        build_pool([tmp_path / "disc.png"], tmp_path / "none", settings, lambda region: np.zeros((0, 1, 1), np.bool_))
    with pytest.raises(WeakSupervisionError, match="pictures"):
        build_pool([], tmp_path / "none", settings)


def test_overlaps_of_disjoint_masks_are_those_of_a_label_image(scene: NDArray[np.int32]) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 8)).astype(np.int32)
    large = np.kron(labels, np.ones((4, 4), np.int32))
    ignored = np.zeros(scene.shape, np.uint8)
    ignored[:3], ignored[20:] = 255, 1
    truth = ScoredTruth(scene, np.zeros(2, np.int32), ignored)
    scores = np.array([0.9, 0.5, 0.7])
    expected = overlaps("a", truth, large, np.zeros(3, np.int32), scores, 1)
    masks = np.stack([labels == i + 1 for i in range(3)])
    found = mask_overlaps_of("a", truth, masks, scores)
    for name in ("areas", "true_areas", "both", "void", "crowd", "crowd_areas", "scores", "classes", "true_classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_perfect_masks_score_one(scene: NDArray[np.int32], tmp_path: Path) -> None:
    truth = ScoredTruth(scene, np.zeros(2, np.int32), np.zeros(scene.shape, np.uint8))
    masks = np.stack([scene == 1, scene == 2])
    frame = mask_overlaps_of("a", truth, masks, np.ones(2))
    score, _ = coco_ap([frame], ("object",), EXEMPLAR_BANDS)
    assert (score.ap, score.ap50, score.ar10) == (1.0, 1.0, 1.0)
    none = mask_overlaps_of("a", truth, masks[:0], np.zeros(0))
    assert coco_ap([none], ("object",), EXEMPLAR_BANDS)[0].ap == 0


def test_a_sheet_shows_masks(tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", np.full((40, 80, 3), 60, np.uint8))
    mask = np.zeros((1, 20, 40), np.bool_)
    mask[0, 5:15, 10:30] = True
    scores, embeddings = np.ones(1, np.float32), np.zeros((1, 0), np.float32)
    write_masks(tmp_path / "a.json", PictureMasks(tmp_path / "gray.png", (20, 40), mask, scores, embeddings))
    mask_sheet([tmp_path / "a.json"] * 2, tmp_path / "sheet.png", columns=2, width=80)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (40, 160, 3)
    assert (sheet[20, 40] != 60).any()
    assert (sheet[2, 2] == 60).all()
