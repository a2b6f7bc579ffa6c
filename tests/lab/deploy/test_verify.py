"""What one network loses of what another finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import ConfigError, DatasetError, ModelError
from rtseg.lab.deploy.foreign.import_model import import_model
from rtseg.lab.deploy.verify import verify_model
from rtseg.runtime.card import ModelCard, ModelFile, sha256_of
from tests.foreign_networks import paint_objects, write_yolo
from tests.threshold_network import two_lane_road, write_threshold_model

SCENE = [(0, (4, 4, 24, 28)), (1, (68, 40, 92, 60)), (0, (100, 70, 124, 92)), (1, (224, 96, 256, 128))]


def add_network(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """Put a second network into a model, with weights changed."""
    model = onnx.load(folder / "model.onnx")
    weights = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    change(weights)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    onnx.save(model, folder / "other.onnx")
    card = ModelCard.load(folder / "card.yaml")
    entry = ModelFile(file="other.onnx", sha256=sha256_of(folder / "other.onnx"), precision="int8")
    card.model_copy(update={"alternatives": (entry,)}).dump(folder / "card.yaml")
    return folder


@pytest.fixture
def road(tmp_path: Path) -> Path:
    folder = tmp_path / "road"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.roll(two_lane_road(), i, axis=1))
    return folder


def test_the_same_weights_lose_nothing(tmp_path: Path, road: Path) -> None:
    model = add_network(write_threshold_model(tmp_path / "m"), lambda weights: None)
    found = verify_model(model, [road], network="other.onnx")
    assert (found.frames, found.expected, found.kept, found.invented) == (3, 6, 6, 0)
    assert found.lost_share == 0
    assert found.worst == (0, -1)
    assert max(found.distances) == 0
    assert found.maps["logits"].greatest == 0


def test_a_lost_line_and_a_moved_map_are_told(tmp_path: Path, road: Path) -> None:
    def blind_to_green(weights: dict[str, np.ndarray]) -> None:
        weights["bias"][2] = -9.0

    model = add_network(write_threshold_model(tmp_path / "m"), blind_to_green)
    found = verify_model(model, [road], network="other.onnx")
    assert (found.expected, found.kept, found.invented) == (6, 3, 0)
    assert found.lost_share == pytest.approx(0.5)
    assert found.maps["logits"].greatest == pytest.approx(9.0, abs=1e-5)
    assert found.worst == (1, 0)
    other_way = verify_model(model, [road], network="model.onnx", against="other.onnx")
    assert (other_way.expected, other_way.kept, other_way.invented) == (3, 3, 3)
    assert other_way.lost_share == 1.0
    done = CliRunner().invoke(app, ["verify", str(model), "--network", "other.onnx", "--data", str(road)])
    assert done.exit_code == 1
    assert "50.0 %" in done.output
    told = CliRunner().invoke(app, ["verify", str(model), "--network", "other.onnx", "--data", str(road), "--json"])
    assert json.loads(told.stdout)["lost_share"] == 0.5
    allowed = ["verify", str(model), "--network", "other.onnx", "--data", str(road), "--allow", "60"]
    assert CliRunner().invoke(app, allowed).exit_code == 0


def test_objects_are_held_against_each_other_with_their_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtseg.lab.deploy.foreign.import_model._picture", lambda *_: paint_objects(SCENE))
    import_model(write_yolo(tmp_path / "n.onnx", names=True), "yolo-seg", tmp_path / "m")

    def swap_classes(weights: dict[str, np.ndarray]) -> None:
        scores = next(array for array in weights.values() if array.shape[:2] == (2, 3))
        scores[:] = scores[::-1].copy()

    model = add_network(tmp_path / "m", swap_classes)
    cv2.imwrite(str(tmp_path / "street.png"), paint_objects(SCENE))
    found = verify_model(model, [tmp_path / "street.png"], network="other.onnx")
    assert (found.expected, found.kept, found.renamed, found.invented) == (4, 4, 4, 0)
    assert found.lost_share == 1.0
    assert min(found.distances) == 1.0


def test_another_backend_is_a_candidate_too(tmp_path: Path, road: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (the extra `train`)")
    model = write_threshold_model(tmp_path / "m")
    found = verify_model(model, [road], backend="torch")
    assert found.candidate.startswith("model.onnx on torch")
    assert found.lost_share == 0


def test_what_cannot_be_compared_is_told(tmp_path: Path, road: Path) -> None:
    model = write_threshold_model(tmp_path / "m")
    with pytest.raises(ConfigError, match="on ONNX Runtime twice"):
        verify_model(model, [road])
    with pytest.raises(ModelError, match=r"expected a network of thresholds"):
        verify_model(model, [road], network="missing.onnx")
    add_network(model, lambda weights: None)
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DatasetError, match="finds something"):
        verify_model(model, [blank], network="other.onnx")
    done = CliRunner().invoke(app, ["verify", str(model), "--engine", "--backend", "torch"])
    assert isinstance(done.exception, ConfigError)
