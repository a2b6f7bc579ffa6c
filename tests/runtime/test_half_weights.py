"""Weights stored in float16: the size halves, and everything that reads them sees the same rounded float32 values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rtseg.runtime import bundled_models, find_model
from rtseg.runtime.half_weights import with_float_weights, with_half_weights
from rtseg.runtime.models import float_network
from rtseg.runtime.tensorrt.half_precision import cast_to_half

SIZE = (128, 256)


def network(weights: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["scaled"]), helper.make_node("Add", ["scaled", "bias"], ["y"])],
        "scaling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, weights.shape[1]])],
        [
            numpy_helper.from_array(weights, "weight"),
            numpy_helper.from_array(np.full(weights.shape[1], 1 / 3, np.float32), "bias"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((1, SIZE[0])).astype(np.float32)
    return session.run(None, {"x": x})[0]


@given(st.integers(0, 2**32 - 1), st.integers(-30, 20))
@settings(max_examples=20, deadline=None)
def test_weights_are_rounded_once_or_not_at_all(seed: int, exponent: int) -> None:
    weights = (np.random.default_rng(seed).standard_normal(SIZE) * 2.0**exponent).astype(np.float32)
    stored = with_half_weights(network(weights))
    onnx.checker.check_model(stored, full_check=True)
    back = constants(with_float_weights(stored))["weight"]
    assert back.dtype == np.float32
    if "weight" in constants(stored):  # float16 cannot hold them
        np.testing.assert_array_equal(back, weights)
        assert np.abs(weights).max() > 60000 or np.abs(weights).max() < 1e-3
    else:
        np.testing.assert_array_equal(back, weights.astype(np.float16).astype(np.float32))
        assert np.abs(back - weights).max() <= 2.0**-11 * np.abs(weights).max()
        assert stored.ByteSize() < 0.6 * network(weights).ByteSize()


def test_stored_and_put_back_compute_the_same_to_the_bit() -> None:
    stored = with_half_weights(network(np.random.default_rng(1).standard_normal(SIZE).astype(np.float32)))
    assert [node.op_type for node in with_float_weights(stored).graph.node] == ["MatMul", "Add"]
    np.testing.assert_array_equal(run(stored), run(with_float_weights(stored)))


def test_small_tensors_and_other_types_stay() -> None:
    weights = np.random.default_rng(2).standard_normal((4, 8)).astype(np.float32)
    assert with_half_weights(network(weights)) == network(weights)
    assert with_float_weights(network(weights)) == network(weights)


@pytest.mark.parametrize("huge", [1e6, np.inf, np.nan])
def test_what_float16_cannot_hold_stays(huge: float) -> None:
    weights = np.ones(SIZE, np.float32)
    weights[0, 0] = huge
    assert "weight" in constants(with_half_weights(network(weights)))


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_fp32_networks_are_stored_so_and_give_the_engine_the_same_weights(name: str) -> None:
    path: Path = float_network(find_model(name))
    stored = onnx.load(path)
    assert max(tensor.data_type == TensorProto.FLOAT16 for tensor in stored.graph.initializer)
    half = onnx.load_from_string(cast_to_half(path.read_bytes()))
    in_engine = constants(half)
    kept = {name.removesuffix("_in_half"): value for name, value in constants(stored).items() if "_in_half" in name}
    assert kept
    for weight, value in kept.items():
        assert in_engine[weight].dtype == np.float16
        # The converter lifts what is smaller than 1e-7.
        np.testing.assert_allclose(in_engine[weight].astype(float), value.astype(float), rtol=0, atol=1.1e-7)
