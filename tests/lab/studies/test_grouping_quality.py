"""AP and PQ of grouping, on cases whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.errors import DatasetError
from rtseg.lab.commands.lab import lab_app
from rtseg.lab.data.affinity_scenes import Corruption, street_scene
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.lab.studies.grouping_quality import METHODS, Tally, cityscapes_truths, spoilt_maps

LABELS = np.zeros((10, 30), np.int32)
LABELS[:, :10], LABELS[:, 20:] = 1, 2


def truth_of(labels: np.ndarray) -> InstanceTruth:
    return InstanceTruth(labels, (labels > 0).astype(np.uint8), np.zeros(labels.max(), np.int32))


TRUTH = truth_of(LABELS)


def test_perfect_and_empty():
    tally = Tally()
    tally.add(LABELS, np.array([0.9, 0.1]), TRUTH, 0.5)
    assert tally.score().ap == tally.score().pq == pytest.approx(1.0)
    assert tally.score().milliseconds == pytest.approx(500)
    tally.add(np.zeros_like(LABELS), np.zeros(0), TRUTH, 0.0)
    assert tally.score().ap == pytest.approx(51 / 101)  # of COCO's points of recall, from 0 to 1
    assert tally.score().pq == pytest.approx(2 / 3)
    assert np.isnan(Tally().score().ap)


def test_confident_mistakes_cost_more():
    halves = LABELS.copy()
    halves[:5, :10], halves[5:, :10] = 3, 1  # two halves of instance 1, IoU .5 each
    sure, unsure = Tally(), Tally()
    sure.add(halves, np.array([0.9, 0.5, 0.9]), TRUTH, 0.0)
    unsure.add(halves, np.array([0.1, 0.5, 0.1]), TRUTH, 0.0)
    assert sure.score().ap < unsure.score().ap
    assert sure.score().pq == unsure.score().pq == pytest.approx(1 / (1 + 0.5 * 2 + 0.5 * 1))


def test_every_method_finds_clean_objects():
    scene = street_scene(4, (96, 160))
    truth = scene.objects
    maps = spoilt_maps(truth, np.full(truth.max(), 3, np.int32), Corruption(), seed=0)
    for name, method in METHODS.items():
        tally = Tally()
        labels, scores = method(maps)
        assert len(scores) == labels.max()
        tally.add(labels, scores, truth_of(truth), 0.0)
        assert tally.score().pq > 0.4, name


def test_figure_from_real_frames(driving_data, tmp_path):
    folder = driving_data / "instances" / "cityscapes640"
    truth = next(cityscapes_truths(folder, 3, (64, 128)))
    assert truth.instances.shape == (64, 128)
    arguments = ["--data", folder, "--frames", 1, "--height", 64, "--strongest", 2]
    command = ["grouping-quality", *arguments, "--figure", tmp_path / "q.svg"]
    answer = CliRunner().invoke(lab_app, list(map(str, command)))
    assert answer.exit_code == 0, answer.output
    assert "gaec mean 0: AP" in answer.output.replace("\n", " ")
    assert (tmp_path / "q.svg").stat().st_size > 1000
    assert (tmp_path / "q.json").read_text().count('"ap50"') == 3 * len(METHODS) + 5


def test_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="classes"):
        next(cityscapes_truths(tmp_path, 1, (8, 16)))
