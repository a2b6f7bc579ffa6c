"""int8 of instance models: the gate is the instances' own metric, on labelled frames or on rendered streets.

The networks answer to painted colors; two layers before them carry the colors on, in the sensitive version beside a
channel a thousand times as large, so that one int8 range for the tensor leaves nothing of the colors.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import rtseg
from rtseg.errors import DatasetError, ModelError
from rtseg.lab.deploy.calibrate import calibrate_int8
from rtseg.lab.deploy.calibration_metric import Measured, gated_metric, task_metric
from rtseg.lab.deploy.network_files import FLOAT, INT8, INT8_TENSORRT
from rtseg.lab.deploy.recipe import CalibrationSettings, Recipe
from rtseg.runtime.card import ModelCard, Score, sha256_of
from tests.instance_networks import HEIGHT, WIDTH, paint, write_gtfine_frame, write_instance_model

pytest.importorskip("cityscapesscripts", reason="cityscapesscripts is not installed (the extra `scores`)")
pytest.importorskip("pycocotools", reason="pycocotools is not installed (the extra `scores`)")

OBJECTS = [(1, 0, (8, 16, 40, 48)), (1, 2, (40, 16, 72, 48)), (0, 0, (88, 8, 104, 56))]
METHODS = ("coloring", "graph_merge", "cascade_gaec")


def write_model(folder: Path, method: str, outlier: float = 1.0) -> Path:
    """A model of the method's family: image -> spread -> relu -> gather -> relu -> what answers to colors."""
    write_instance_model(folder, method, parameters={"min_area": 32})
    network = onnx.load(folder / "model.onnx")
    spread = np.zeros((4, 3, 1, 1), np.float32)
    spread[:3, :, 0, 0] = np.eye(3)
    spread[3, :, 0, 0] = outlier
    gather = np.zeros((3, 4, 1, 1), np.float32)
    gather[:, :3, 0, 0] = np.eye(3)
    for node in network.graph.node:
        node.input[:] = ["gathered" if name == "image" else name for name in node.input]
    before = [
        helper.make_node("Conv", ["image", "spread.weight"], ["spread_out"], name="spread"),
        helper.make_node("Relu", ["spread_out"], ["spread_relu"], name="spread_relu"),
        helper.make_node("Conv", ["spread_relu", "gather.weight"], ["gather_out"], name="gather"),
        helper.make_node("Relu", ["gather_out"], ["gathered"], name="gather_relu"),
    ]
    nodes = [*before, *network.graph.node]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    network.graph.initializer.extend(
        [numpy_helper.from_array(spread, "spread.weight"), numpy_helper.from_array(gather, "gather.weight")]
    )
    onnx.checker.check_model(network)
    onnx.save(network, folder / "model.onnx")
    card = ModelCard.load(folder / "card.yaml")
    model = card.model.model_copy(update={"sha256": sha256_of(folder / "model.onnx")})
    card.model_copy(update={"model": model}).dump(folder / "card.yaml")
    return folder


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames of a held-out city; one of another, whose labels nothing on the picture answers to."""
    root = tmp_path_factory.mktemp("street")
    write_gtfine_frame(root, "aachen", 0, OBJECTS)
    write_gtfine_frame(root, "aachen", 1, OBJECTS[1:])
    write_gtfine_frame(root, "zurich", 0, OBJECTS)
    picture = next(root.glob("leftImg8bit/val/zurich/*"))
    cv2.imwrite(str(picture), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return root


@pytest.mark.parametrize("method", METHODS)
def test_an_instance_model_keeps_its_metric_or_its_layers(tmp_path: Path, street: Path, method: str) -> None:
    model, out, recipes = write_model(tmp_path / "blocks", method, 1000.0), tmp_path / "made", tmp_path / "recipes"
    frames = street / "leftImg8bit" / "val" / "aachen"
    result = calibrate_int8(model, [frames], out, evaluation=street, recipes=recipes)
    # Only the held-out city counts, on which the float network is all but perfect.
    assert (result.metric, result.dataset) == ("AP", "street0, held-out cities, 2 frames")
    assert result.values[FLOAT] > 0.9
    assert set(result.in_float) & {"spread", "gather"}, "what the outlier drowns stays in float"
    assert all(loss <= 0.5 for loss in result.losses.values())
    card = ModelCard.load(out / "card.yaml")
    for file, precision in ((INT8, "int8"), (FLOAT, "fp32"), (INT8_TENSORRT, "int8")):
        named = file if file == INT8_TENSORRT else None
        found = [s for s in card.scores if (s.precision, s.file) == (precision, named)]
        assert found[0].metric == "AP"
        assert {"PQ", "class-agnostic AP50"} <= {score.metric for score in found}
    assert card.metric_change("int8", INT8_TENSORRT) == pytest.approx(-result.losses[INT8_TENSORRT] / 100, abs=2e-4)
    assert Recipe.load(recipes / "blocks.yaml") == result.recipe
    image, _ = paint(OBJECTS)
    assert len(rtseg.load(out, backend="onnxruntime", network=INT8)(image).ids) == 3


def test_an_instance_model_that_loses_too_much_is_refused(
    tmp_path: Path, street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtseg.lab.deploy.calibrate.MOST_FLOAT_LAYERS", 0)
    model = write_model(tmp_path / "blocks", "graph_merge", 1000.0)
    with pytest.raises(ModelError, match=r"int8 loses \d+\.\d+ points of AP on .* the card of blocks allows 0\.5"):
        calibrate_int8(model, [street / "leftImg8bit" / "val" / "aachen"], tmp_path / "made", evaluation=street)
    assert [path.name for path in tmp_path.iterdir()] == ["blocks"]


def test_a_set_on_which_nothing_is_found_is_no_gate(tmp_path: Path, street: Path) -> None:
    model = write_model(tmp_path / "blocks", "graph_merge")
    for path in street.glob("leftImg8bit/val/aachen/*"):
        blank = tmp_path / "blind" / path.relative_to(street)
        blank.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(blank), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / "blind" / "gtFine").symlink_to(street / "gtFine")
    with pytest.raises(DatasetError):  # a picture of zurich is missing
        calibrate_int8(model, [], tmp_path / "made", CalibrationSettings(rendered=1), evaluation=tmp_path / "blind")
    blank = tmp_path / "blind" / "leftImg8bit" / "val" / "zurich"
    blank.symlink_to(street / "leftImg8bit" / "val" / "zurich")
    with pytest.raises(DatasetError, match=r"AP 0 on blind, .*--evaluate"):
        calibrate_int8(model, [], tmp_path / "made", CalibrationSettings(rendered=1), evaluation=tmp_path / "blind")
    assert not (tmp_path / "made").exists()


def test_rendered_streets_are_measured_on_and_drawn_without_a_folder(tmp_path: Path) -> None:
    model = write_model(tmp_path / "blocks", "graph_merge")
    card = ModelCard.load(model / "card.yaml")
    metric = task_metric(card, None, 2, tmp_path / "rendered")
    assert metric.render(3).shape == (HEIGHT, WIDTH, 3)
    assert (metric.render(3) != metric.render(4)).any()
    pipeline = rtseg.load(model)
    first, again = metric.measure(pipeline), metric.measure(pipeline)
    assert first.dataset == "rendered streets, 2 frames"
    assert first == again
    assert first.metrics.keys() >= {"PQ", "class-agnostic AP50"}


def test_the_card_says_which_metric_is_gated(tmp_path: Path) -> None:
    card = ModelCard.load(write_instance_model(tmp_path / "blocks") / "card.yaml")
    gates = ("AP", "class-agnostic AP50")
    measured = Measured("set", {"AP": 0.4, "PQ": 0.3, "class-agnostic AP50": 0.6})
    assert gated_metric(card, gates, measured) == "AP"
    assert gated_metric(card, gates, Measured("set", {"PQ": 0.3, "class-agnostic AP50": 0.6})) == gates[1]
    scores = [
        Score(dataset="other", metric=name, value=0.5, precision="fp32", command="none")
        for name in ("false positive rate", "class-agnostic AP50", "AP")
    ]
    assert gated_metric(card.model_copy(update={"scores": tuple(scores)}), gates, measured) == "class-agnostic AP50"
    for metrics in ({}, {"PQ": 0.5}, {"AP": 0.0}):
        with pytest.raises(DatasetError, match="AP 0 on set"):
            gated_metric(card, gates, Measured("set", metrics))
