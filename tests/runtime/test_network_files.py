"""Network files that a card must not vouch for, and names that must not mean another model."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rtseg.errors import ModelError
from rtseg.loading import load
from rtseg.runtime import bundled_models, find_model
from rtseg.runtime.card import ModelCard, sha256_of
from rtseg.runtime.onnx_file import refuse_external_data

NO_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed (the extra `train`)")
BACKENDS = ("onnxruntime", "openvino", pytest.param("torch", marks=NO_TORCH))
ModelFolder = Callable[..., Path]


def rewrite(folder: Path, network: onnx.ModelProto, content: dict[str, Any], **saving: Any) -> Path:
    """Write another network into a model folder, and its hash into the card."""
    onnx.save(network, folder / "model.onnx", **saving)
    content["model"]["sha256"] = sha256_of(folder / "model.onnx")
    ModelCard.model_validate(content).dump(folder / "card.yaml")
    return folder


def test_weights_in_another_file_are_refused(model_folder: ModelFolder, card_content: dict[str, Any]) -> None:
    folder = model_folder()
    network = onnx.load(folder / "model.onnx")
    rewrite(folder, network, card_content, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (folder / "weights.bin").is_file()
    with pytest.raises(ModelError, match=r"expected all weights in model\.onnx"):
        find_model(folder)


def test_weights_in_another_file_are_found_wherever_they_are_named(tmp_path: Path) -> None:
    outside = numpy_helper.from_array(np.zeros(4, np.float32), "outside")
    onnx.external_data_helper.set_external_data(outside, "weights.bin")
    outside.ClearField("raw_data")
    sound = numpy_helper.from_array(np.zeros(4, np.float32), "inside")

    def branch(tensor: TensorProto) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "branch", [], [])

    def saved(name: str, tensor: TensorProto, nested: bool) -> Path:
        nodes = [helper.make_node("Constant", [], ["x"], value=tensor)]
        if nested:
            nodes = [helper.make_node("If", ["x"], ["y"], then_branch=branch(sound), else_branch=branch(tensor))]
        path = tmp_path / name
        path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", [], [])).SerializeToString())
        return path

    for nested in (False, True):
        refuse_external_data(saved("sound.onnx", sound, nested))
        with pytest.raises(ModelError, match="in another file"):
            refuse_external_data(saved("outside.onnx", outside, nested))


@pytest.mark.parametrize("size", [0, 1, 40, 300])
def test_a_cut_file_is_refused(model_folder: ModelFolder, tmp_path: Path, size: int) -> None:
    content = (model_folder() / "model.onnx").read_bytes()
    assert len(content) > 300
    (tmp_path / "cut.onnx").write_bytes(content[:size])
    with pytest.raises(ModelError, match="expected an ONNX network"):
        refuse_external_data(tmp_path / "cut.onnx")


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_networks_keep_their_weights_in_one_file(name: str) -> None:
    for file in find_model(name).card.files:
        refuse_external_data(find_model(name, file.file).path)


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_a_half_precision_input_is_refused_when_the_model_is_loaded(
    model_folder: ModelFolder, card_content: dict[str, Any], backend: str
) -> None:
    folder = model_folder()
    network = onnx.load(folder / "model.onnx")
    network.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    network.graph.node.insert(0, helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT))
    network.graph.node[1].input[0] = "wide"
    with pytest.raises(ModelError, match="input image of float16, expected float32"):
        load(rewrite(folder, network, card_content), device="cpu", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dynamic_axes_are_told_in_one_sentence(
    model_folder: ModelFolder, card_content: dict[str, Any], backend: str
) -> None:
    folder = model_folder()
    network = onnx.load(folder / "model.onnx")
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ModelError, match=r"leaves sides of its input image open .*without dynamic axes"):
        load(rewrite(folder, network, card_content), device="cpu", backend=backend)


def test_a_bundled_name_is_not_shadowed_by_a_folder(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = bundled_models()[0]
    model_folder().rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert find_model(name).card.name == name
    for path in (f"./{name}", f"{name}/", f"{name}/card.yaml", str(tmp_path / name), Path(name)):
        assert find_model(path).card.name == "thresholds", path
    (tmp_path / name).rename(tmp_path / "mine")
    assert find_model("mine").card.name == "thresholds"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["mean", "std"])
def test_numbers_that_are_none_are_refused(
    card_content: dict[str, Any], tmp_path: Path, field: str, value: float
) -> None:
    card_content["input"][field] = [1.0, value, 1.0]
    path = tmp_path / "card.yaml"
    import yaml

    path.write_text(yaml.safe_dump(card_content))
    with pytest.raises(ModelError, match=rf"input\.{field}\.1"):
        ModelCard.load(path)


@pytest.mark.parametrize(
    "parameters",
    [
        {"decodr": {}},
        {"decoder": {"no_such": 1}},
        {"decoder": {"min_confidence": float("nan")}},
        {"decoder": {"join_gap": float("inf")}},
        {"tracker": {"show": float("nan")}},
        {"tracker": {"memory": -1}},
        # Percent for a share, pixels for one, hours: a model that never finds anything, or goes on with what is gone.
        {"decoder": {"min_confidence": 50}},
        {"decoder": {"min_area": 100}},
        {"decoder": {"min_length": 20}},
        {"tracker": {"show": 30}},
        {"tracker": {"carry": 3600}},
    ],
    ids=str,
)
def test_grouping_parameters_of_lanes_that_make_no_sense_are_told_by_name(
    model_folder: ModelFolder, parameters: dict[str, Any]
) -> None:
    names = ".".join([*parameters, *next(iter(parameters.values()))])
    with pytest.raises(ModelError, match=rf"the card of thresholds.*{names}"):
        load(model_folder(grouping={"method": "lanes", "parameters": parameters}))


def test_a_method_of_lanes_for_devices_is_refused(model_folder: ModelFolder) -> None:
    grouping = {"method": "lanes", "device": {"method": "lanes", "parameters": {"nonsense": 1}}}
    with pytest.raises(ModelError, match=r"the card of thresholds does not fit: grouping\.device"):
        load(model_folder(grouping=grouping))
