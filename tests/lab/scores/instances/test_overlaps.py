"""Overlaps against masks taken one by one, and truths from what the readers give."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import truth_from_ids
from rtseg.lab.scores.instances.overlaps import _VOID_IDS, ScoredTruth, overlaps
from tests.lab.scores.instances.instance_scenes import CLASSES, SIZE, scene


@pytest.mark.parametrize("seed", range(20))
def test_equal_masks_taken_one_by_one(seed):
    truth, labels, classes, scores = scene(seed)
    got = overlaps("f", truth, labels, classes, scores, len(CLASSES))
    found = [i for i in range(1, len(classes) + 1) if (labels == i).any()]
    real = [j for j in range(1, len(truth.class_ids) + 1) if ((truth.labels == j) & (truth.ignored == 0)).any()]
    np.testing.assert_array_equal(got.classes, classes[[i - 1 for i in found]])
    np.testing.assert_array_equal(got.true_classes, truth.class_ids[[j - 1 for j in real]])
    np.testing.assert_array_equal(got.areas, [(labels == i).sum() for i in found])
    np.testing.assert_array_equal(got.true_areas, [(truth.labels == j).sum() for j in real])
    for row, i in enumerate(found):
        np.testing.assert_array_equal(got.both[row], [((labels == i) & (truth.labels == j)).sum() for j in real])
        assert got.void[row] == ((labels == i) & (truth.ignored == 255)).sum()
        for c in range(len(CLASSES)):
            assert got.crowd[row, c] == ((labels == i) & (truth.ignored == c + 1)).sum()
    np.testing.assert_array_equal(got.crowd_areas, [(truth.ignored == c + 1).sum() for c in range(len(CLASSES))])


def test_one_class_keeps_what_is_ignored():
    truth, labels, classes, scores = scene(4)
    got = overlaps("f", truth, labels, classes, scores, len(CLASSES))
    one = got.class_agnostic()
    np.testing.assert_array_equal(one.crowd[:, 0], got.crowd.sum(axis=1))
    assert one.iou.shape == got.iou.shape
    assert (one.iou >= got.iou).all()


def test_ranking_by_truth_puts_the_best_first():
    truth = ScoredTruth(np.eye(4, dtype=np.int32), np.zeros(1, np.int32), np.zeros((4, 4), np.uint8))
    labels = np.eye(4, dtype=np.int32)
    labels[0] = 2
    for class_id in (0, -1):  # also where a model names no class of the truth
        classes = np.full(2, class_id, np.int32)
        got = overlaps("f", truth, labels, classes, np.array([0.1, 0.9]), 1).ranked_by_truth()
        assert got.scores[0] == pytest.approx(3 / 4)
        assert got.scores[1] == pytest.approx(1 / 7)
        np.testing.assert_array_equal(got.classes, classes)


def test_void_is_what_cityscapes_leaves_out():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels", reason="cityscapesscripts is not installed")
    assert sorted(_VOID_IDS) == sorted(label.id for label in labels.labels if label.ignoreInEval and label.id >= 0)


def test_truth_of_a_reader():
    ids = np.full((4, 6), 7, np.int32)  # road
    ids[0], ids[1], ids[2], ids[3, :3], ids[3, 3:] = 26001, 26, 1, 30000, 24000
    truth = ScoredTruth.of(truth_from_ids(ids), ids)
    assert truth.ignored[0].tolist() == [0] * 6
    assert truth.ignored[1].tolist() == [3] * 6  # a group of cars, the third class
    assert truth.ignored[2].tolist() == [255] * 6  # the own vehicle counts as road in training
    assert truth.ignored[3].tolist() == [255] * 3 + [0] * 3  # a trailer, a person
    assert sorted(truth.class_ids.tolist()) == [0, 2]
    assert truth.labels.max() == 2
    assert (ScoredTruth.of(truth_from_ids(ids)).ignored[2] == 0).all()


def test_other_sizes_and_unnamed_labels_are_refused():
    truth, labels, classes, scores = scene(1, SIZE)
    with pytest.raises(DatasetError, match="image of"):
        overlaps("f", truth, labels[:-1], classes, scores, len(CLASSES))
    with pytest.raises(DatasetError, match="without one"):
        overlaps("f", truth, np.full(SIZE, len(classes) + 1, np.int32), classes, scores, len(CLASSES))
