"""No CPU loses a part of an int8 layer's sum: some add pairs of products of uint8 and int8 up in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from rtseg.lab.deploy.float_arithmetic import in_float_arithmetic
from rtseg.lab.deploy.quantize import (
    WEIGHTED,
    Form,
    calibrate_ranges,
    open_session,
    quantize_network,
    read_float_network,
)
from rtseg.runtime import bundled_models, find_model

SIDE = 8


def pairs_in_16_bits(network: onnx.ModelProto) -> Iterator[tuple[str, int]]:
    """By layer the greatest sum of 255 times two int8 weights of one output channel, depthwise layers left out."""
    weights = {tensor.name: tensor for tensor in network.graph.initializer}
    stored = {node.output[0]: node for node in network.graph.node if node.op_type == "DequantizeLinear"}
    for node in network.graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in stored:
            continue
        dequantize = stored[node.input[1]]
        values = numpy_helper.to_array(weights[dequantize.input[0]]).astype(int)
        group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if 1 < group == len(values):
            continue
        axis = next(attribute.i for attribute in dequantize.attribute if attribute.name == "axis")
        ordered = np.sort(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1), axis=1)
        yield node.name, 255 * int(max(ordered[:, -2:].sum(1).max(), -ordered[:, :2].sum(1).min()))


def layer(kind: str, weights: NDArray[np.float32], **attributes: object) -> onnx.ModelProto:
    """A network of two layers, of which the second, the head, stays in float."""
    channels = weights.shape[0] if kind == "ConvTranspose" else weights.shape[1] * int(attributes.get("group", 1))  # type: ignore[call-overload]
    out = weights.shape[1] if kind == "ConvTranspose" else weights.shape[0]
    image = [1, channels, SIDE, SIDE]
    nodes = [
        make_node(kind, ["image", "weights", "biases"], ["inner"], "layer", **attributes),
        make_node("Conv", ["inner", "identity"], ["logits"], "head"),
    ]
    constants = {
        "weights": weights,
        "biases": np.zeros(out, np.float32),
        "identity": np.eye(out, dtype=np.float32)[..., None, None],
    }
    graph = make_graph(
        nodes,
        "graph",
        [make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [make_tensor_value_info("logits", TensorProto.FLOAT, [1, out, None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


def int8_of(
    network: onnx.ModelProto, path: Path, inputs: list[NDArray[np.float32]], form: Form = "cpu"
) -> onnx.ModelProto:
    onnx.save(network, path)
    return quantize_network(calibrate_ranges(read_float_network(path), inputs), form)


def input_shape(network: onnx.ModelProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in network.graph.input[0].type.tensor_type.shape.dim)


LAYERS = {
    "1x1": ("Conv", (8, 32, 1, 1), {}),
    "3x3": ("Conv", (8, 8, 3, 3), {}),
    "in groups": ("Conv", (8, 4, 3, 3), {"group": 2}),
    "depthwise": ("Conv", (8, 1, 3, 3), {"group": 8}),
    "twice depthwise": ("Conv", (16, 1, 3, 3), {"group": 8}),
    "of one channel": ("Conv", (8, 1, 3, 3), {}),
    "transposed": ("ConvTranspose", (32, 8, 2, 2), {"strides": [2, 2]}),
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", LAYERS)
def test_weights_that_are_all_as_great_as_can_be_give_what_they_give_in_float(
    tmp_path: Path, name: str, sign: int
) -> None:
    kind, shape, attributes = LAYERS[name]
    network = layer(kind, np.full(shape, 0.5 * sign, np.float32), **attributes)
    inputs = [np.full(input_shape(network), 6, np.float32)]
    int8 = int8_of(network, tmp_path / "float.onnx", inputs)
    assert all(most <= 32767 for _, most in pairs_in_16_bits(int8))
    expected, found = (open_session(one).run(None, {"image": inputs[0]})[0] for one in (network, int8))
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_form_for_a_card_is_measured_as_a_card_computes_it(tmp_path: Path) -> None:
    network = layer("Conv", np.full((8, 8, 3, 3), 0.5, np.float32))
    inputs = [np.full(input_shape(network), 6, np.float32)]
    int8 = int8_of(network, tmp_path / "float.onnx", inputs, "tensorrt")
    assert max(most for _, most in pairs_in_16_bits(int8)) > 32767, "a card has 32 bits for it"
    expected, found = (
        open_session(one).run(None, {"image": inputs[0]})[0] for one in (network, in_float_arithmetic(int8))
    )
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize("form", ["cpu", "tensorrt"])
@pytest.mark.parametrize("name", LAYERS)
def test_in_float_a_network_is_what_its_file_says(tmp_path: Path, name: str, form: Form) -> None:
    kind, shape, attributes = LAYERS[name]
    rng = np.random.default_rng(3)
    network = layer(kind, rng.normal(size=shape).astype(np.float32), **attributes)
    inputs = [rng.normal(size=input_shape(network)).astype(np.float32)]
    int8 = int8_of(network, tmp_path / "float.onnx", inputs, form)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # node by node
    plain = onnxruntime.InferenceSession(int8.SerializeToString(), options, providers=["CPUExecutionProvider"])
    converted = in_float_arithmetic(int8)
    assert not [node for node in converted.graph.node if "Linear" in node.op_type]
    expected, found = (session.run(None, {"image": inputs[0]})[0] for session in (plain, open_session(converted)))
    step = np.ptp(expected) / 255
    assert np.abs(found - expected).max() < 1.5 * step
    assert (np.abs(found - expected) < 0.01 * step).mean() > 0.95


@given(arrays(np.float32, (3, 4, 1, 2), elements=st.floats(-2, 2, width=32)))
def test_whatever_the_weights_no_two_of_a_channel_overflow(
    tmp_path_factory: pytest.TempPathFactory, weights: NDArray[np.float32]
) -> None:
    inputs = [np.linspace(0, 6, 4 * SIDE * SIDE, dtype=np.float32).reshape(1, 4, SIDE, SIDE)]
    int8 = int8_of(layer("Conv", weights), tmp_path_factory.mktemp("any") / "float.onnx", inputs)
    assert [most <= 32767 for _, most in pairs_in_16_bits(int8)] == [True]
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}["weights_scale"]
    assert np.isfinite(scales).all()


@pytest.mark.parametrize("model", bundled_models())
def test_no_bundled_network_overflows(model: str) -> None:
    found = find_model(model)
    network = onnx.load(found.path.parent / found.card.model.file)
    assert found.card.model.precision == "int8"
    most = dict(pairs_in_16_bits(network))
    assert len(most) > 10
    assert max(most.values()) <= 32767
