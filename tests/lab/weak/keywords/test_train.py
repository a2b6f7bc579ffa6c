"""From labels made of keywords to a model that runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import rtseg
from rtseg.errors import ConfigError, WeakSupervisionError
from rtseg.lab.data.coco import write_coco
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.lab.training.instances.config import CITYSCAPES_THINGS, GMISConfig
from rtseg.lab.weak.keywords.train import fit_config, train_from_labels
from tests.lab.weak.shapes import CLASSES, SIZE, draw_shapes, write_shapes

CONFIG = {
    "name": "tiny",
    "model": "daffnet",
    "network": {"backbone": "resnet18-half", "channels": 8, "head_channels": 8, "embedding": 4},
    "input": {"width": 128, "height": 64},
    "epochs": 3,
    "samples_per_epoch": 500,
    "batch": 4,
    "precision": "fp32",
    "workers": 0,
    "threads": 1,
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.slow
def test_labels_become_an_engine(tmp_path: Path, config: Path) -> None:
    run = tmp_path / "run"
    write_shapes(run / "08-labels", 4)
    card = train_from_labels(run, tmp_path / "engine", config, epochs=1)
    assert card.is_file()
    pipeline = rtseg.load(tmp_path / "engine", device="cpu")
    assert tuple(pipeline.card.classes) == CLASSES
    assert "4 frames labelled" in str(pipeline.card.training)
    assert pipeline.card.training.command.endswith("--epochs 1")
    found = pipeline(draw_shapes(0)[0])
    assert isinstance(found, rtseg.Instances)
    assert found.labels.shape == SIZE
    # The same again goes on from where it ended: there is nothing left to do, and the engine is the same.
    before = (tmp_path / "engine" / "model-fp32.onnx").read_bytes()
    train_from_labels(run, tmp_path / "engine", config, epochs=1)
    assert (tmp_path / "engine" / "model-fp32.onnx").read_bytes() == before


def test_what_cannot_be_trained_on(tmp_path: Path, config: Path) -> None:
    with pytest.raises(WeakSupervisionError, match="run rtseg weak label"):
        train_from_labels(tmp_path, tmp_path / "engine", config)
    (tmp_path / "08-labels").mkdir()
    nothing = InstanceTruth(np.zeros(SIZE, np.int32), np.zeros(SIZE, np.uint8), np.zeros(0, np.int32))
    write_coco(tmp_path / "08-labels" / "instances.json", [("a.png", nothing)], CLASSES)
    with pytest.raises(WeakSupervisionError, match="expected instances to learn from"):
        train_from_labels(tmp_path, tmp_path / "engine", config)
    write_shapes(tmp_path / "other" / "08-labels", 1)
    with pytest.raises(ConfigError, match="instance network"):
        train_from_labels(tmp_path / "other", tmp_path / "engine", "lanes-lite")


def test_weights_of_other_classes_are_left_out(tmp_path: Path) -> None:
    write_shapes(tmp_path, 3)
    fitted = fit_config(tmp_path, "gmis-lite", 2)
    assert (fitted.classes, fitted.samples_per_epoch, fitted.epochs) == (CLASSES, 3, 2)
    assert fitted.model_dump()["loss"]["class_weights"] == ()
    truth = InstanceTruth(np.eye(16, dtype=np.int32), np.eye(16, dtype=np.uint8), np.zeros(1, np.int32))
    write_coco(tmp_path / "instances.json", [("a.png", truth)], CITYSCAPES_THINGS)
    kept = fit_config(tmp_path, "gmis-lite")
    assert len(kept.model_dump()["loss"]["class_weights"]) == 1 + len(CITYSCAPES_THINGS)


def test_what_goes_on_from_a_finder_learns_by_the_stage_after_it(tmp_path: Path) -> None:
    write_shapes(tmp_path, 3)
    finder, after = (fit_config(tmp_path, "salient-lite", after_finder=after) for after in (False, True))
    assert isinstance(finder, GMISConfig)
    assert isinstance(after, GMISConfig)
    assert finder.loss.affinity > 0
    assert (after.loss.affinity, after.network.frozen_stages) == (0, 4)
    changed = {"network", "loss", "data", "epochs"}  # the labels tell all else
    assert {name for name in type(after).model_fields if getattr(finder, name) != getattr(after, name)} == changed
    # A configuration without such a stage is what it always was.
    assert fit_config(tmp_path, "gmis-lite", after_finder=True) == fit_config(tmp_path, "gmis-lite")
