"""ONNX files as torch functions compute what ONNX Runtime computes, operator by operator and for bundled networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from rtseg.errors import ModelError
from rtseg.loading import load
from rtseg.runtime import bundled_models, find_model
from rtseg.runtime.backends import create_backend
from rtseg.runtime.backends.onnx_torch import OnnxNetwork
from rtseg.runtime.selection import network_for

RNG = np.random.default_rng(0)
PLAIN = (1, 4, 9, 12)


def _weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


# Name: operator, constants after the first input, attributes.
OPERATORS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "conv": ("Conv", [_weights(6, 4, 3, 3), _weights(6)], {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
    "conv, stride, uneven padding": ("Conv", [_weights(5, 4, 3, 3)], {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    "depthwise, dilated": ("Conv", [_weights(4, 1, 3, 3), _weights(4)], {"group": 4, "dilations": [2, 2]}),
    "conv to one channel": ("Conv", [_weights(1, 4, 1, 1), _weights(1)], {}),
    "batch norm": ("BatchNormalization", [_weights(4), _weights(4), _weights(4), _weights(4) ** 2], {"epsilon": 1e-3}),
    "relu": ("Relu", [], {}),
    "clip": ("Clip", [np.float32(0), np.float32(0.5)], {}),
    "clip from below": ("Clip", [np.float32(-0.2)], {}),
    "leaky relu": ("LeakyRelu", [], {"alpha": 0.1}),
    "sigmoid": ("Sigmoid", [], {}),
    "tanh": ("Tanh", [], {}),
    "softmax": ("Softmax", [], {"axis": 1}),
    "identity": ("Identity", [], {}),
    "add a channel's constant": ("Add", [_weights(1, 4, 1, 1)], {}),
    "mul by a number": ("Mul", [np.float32(3)], {}),
    "sub": ("Sub", [_weights(*PLAIN)], {}),
    "div": ("Div", [np.float32(7)], {}),
    "concat": ("Concat", [_weights(1, 2, 9, 12)], {"axis": 1}),
    "max pool": ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max pool, uneven": ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "average pool": ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average pool over its padding": (
        "AveragePool",
        [],
        {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "count_include_pad": 1},
    ),
    "global average": ("GlobalAveragePool", [], {}),
    "transposed conv": ("ConvTranspose", [_weights(4, 3, 2, 2), _weights(3)], {"strides": [2, 2]}),
    "expand": ("Expand", [np.array([2, 1, 1, 1])], {}),
    "gather channels": ("Gather", [np.array([2, 0])], {"axis": 1}),
    "gather a row": ("Gather", [np.array(-1)], {"axis": 2}),
    "matmul": ("MatMul", [_weights(12, 5)], {}),
    "pad": ("Pad", [np.array([0, 0, 1, 2, 0, 1, 0, 3]), np.float32(0.5)], {}),
    "mean": ("ReduceMean", [], {"axes": [2, 3]}),
    "sum": ("ReduceSum", [np.array([1])], {"keepdims": 0}),
    "reshape": ("Reshape", [np.array([0, -1, 12])], {}),
    "slice": ("Slice", [np.array([1, -9]), np.array([2**62, -1]), np.array([1, 3]), np.array([1, 2])], {}),
    "squeeze": ("Squeeze", [np.array([0])], {}),
    "transpose": ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    "unsqueeze": ("Unsqueeze", [np.array([-1, 1])], {}),
    "resize by a factor": (
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    ),
    "resize to a size": (
        "Resize",
        [None, None, np.array([1, 4, 20, 31], np.int64)],
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ),
    "resize, aligned corners": (
        "Resize",
        [None, None, np.array([1, 4, 17, 23], np.int64)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    "resize, nearest": (
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
}


def _write(path: Path, operator: str, constants: list[Any], attributes: dict[str, Any]) -> None:
    names = ["" if value is None else f"c{i}" for i, value in enumerate(constants)]
    tensors = [numpy_helper.from_array(np.asarray(v), n) for v, n in zip(constants, names, strict=True) if n]
    graph = helper.make_graph(
        [
            helper.make_node(operator, ["image", *names], ["made"], **attributes),
            helper.make_node("Identity", ["made"], ["result"]),
        ],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, PLAIN)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_what_onnx_runtime_does(tmp_path: Path, name: str) -> None:
    path = tmp_path / "one.onnx"
    _write(path, *OPERATORS[name])
    image = _weights(*PLAIN)
    expected = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": image})
    network = OnnxNetwork(path, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        found = network(torch.from_numpy(image))["result"].numpy()
    np.testing.assert_allclose(found, expected[0], atol=2e-5)


def test_a_split_gives_all_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "split.onnx"
    graph = helper.make_graph(
        [
            helper.make_node("Split", ["image", "sizes"], ["a", "b"], axis=1),
            helper.make_node("Concat", ["b", "a"], ["result"], axis=1),
        ],
        "split",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, PLAIN)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, PLAIN)],
        [numpy_helper.from_array(np.array([3, 1]), "sizes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    image = torch.from_numpy(_weights(*PLAIN))
    found = OnnxNetwork(path, torch.device("cpu"), torch.float32)(image)["result"]
    assert torch.equal(found, torch.cat([image[:, 3:], image[:, :3]], dim=1))


def test_operators_that_are_not_known_are_named(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    _write(path, "Erf", [], {})
    with pytest.raises(ModelError, match=r"one\.onnx has Erf"):
        OnnxNetwork(path, torch.device("cpu"), torch.float32)


def test_a_resize_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    _write(path, "Resize", [None, np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"})
    network = OnnxNetwork(path, torch.device("cpu"), torch.float32)
    with pytest.raises(ModelError, match="linear or nearest Resize"):
        network(torch.zeros(PLAIN))


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="torch cannot load"):
        OnnxNetwork(path, torch.device("cpu"), torch.float32)


def _quantized() -> list[tuple[str, str]]:
    files = [(name, file) for name in bundled_models() for file in find_model(name).card.files]
    return [(name, file.file) for name, file in files if file.precision == "int8"]


@pytest.mark.parametrize(("name", "file"), _quantized())
def test_a_quantized_network_is_refused(name: str, file: str) -> None:
    model = find_model(name, file)
    with pytest.raises(ModelError, match=f"{file} is quantized"):
        create_backend("torch", model.path, model.card, threads=1)


def _for_torch() -> list[str]:
    return [name for name in bundled_models() if any("torch" in file.backends for file in find_model(name).card.files)]


@pytest.mark.parametrize("name", _for_torch())
def test_bundled_networks_compute_what_onnx_runtime_computes(name: str) -> None:
    model = find_model(name)
    path, needs = network_for(model, "torch", on_device=False), model.card.input
    tensor = RNG.normal(size=(1, 3, needs.height, needs.width)).astype(np.float32)
    maps = {
        backend: create_backend(backend, path, model.card, threads=1).infer(tensor)
        for backend in ("torch", "onnxruntime")
    }
    for output in model.card.outputs:
        expected = maps["onnxruntime"][output.name]
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(maps["torch"][output.name], expected, atol=1e-4 * max(scale, 1.0))


def test_half_precision_stays_near_single(model_folder: Callable[..., Path]) -> None:
    """What the device computes, on the CPU: float16 and channels last."""
    path, image = model_folder() / "model.onnx", torch.from_numpy(RNG.random((1, 3, 32, 64), np.float32))
    single = OnnxNetwork(path, torch.device("cpu"), torch.float32)(image)["logits"]
    half = OnnxNetwork(path, torch.device("cpu"), torch.float16)(
        image.half().contiguous(memory_format=torch.channels_last)
    )["logits"]
    assert half.dtype == torch.float16
    np.testing.assert_allclose(half.float().numpy(), single.numpy(), atol=0.02)


def test_lanes_by_torch_are_those_by_onnx_runtime(model_folder: Callable[..., Path], road: np.ndarray) -> None:
    folder = model_folder()
    masks = [load(folder, device="cpu", backend=backend)(road).mask for backend in ("torch", "onnxruntime")]
    np.testing.assert_array_equal(*masks)


def test_outputs_are_the_callers_own(model_folder: Callable[..., Path]) -> None:
    model = find_model(model_folder())
    backend = create_backend("torch", model.path, model.card, threads=1)
    first = backend.infer(np.zeros((1, 3, 32, 64), np.float32))["logits"]
    kept = first.copy()
    backend.infer(np.ones((1, 3, 32, 64), np.float32))
    np.testing.assert_array_equal(first, kept)
