"""How far each layer of a quantized network is from the float one, and how much of that is its own doing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from rtseg.lab.deploy.float_arithmetic import in_float_arithmetic
from rtseg.lab.deploy.quantize import WEIGHTED, Calibration, Form, open_session

_ACTIVATIONS = ("Clip", "Relu")


@dataclass(frozen=True)
class LayerError:
    """Error of one layer of a quantized network, over some frames.

    Attributes:
        layer: name of the layer.
        sqnr_db: signal to quantization noise of its output, in decibels: mean squares over all channels and pixels.
        error: mean over channels of the relative rms error of its output, each at most 1. A channel of small values
            beside one of large ones counts as much as that.
        added: by how much `error` exceeds that of the layer's input: what quantizing this layer costs.
    """

    layer: str
    sqnr_db: float
    error: float
    added: float


def layer_errors(
    calibration: Calibration,
    quantized: onnx.ModelProto,
    form: Form,
    in_float: Collection[str],
    inputs: Sequence[NDArray[np.float32]],
) -> list[LayerError]:
    """Compare the tensors around each layer in the float and the quantized network.

    A tensor's rounding is charged to the layer whose quantization asks for it: in the form for CPUs to the layer that
    gives the tensor; in the form for TensorRT, or where the giver is in float or has no weights, to the layer that
    reads it.

    Args:
        calibration: the float network.
        quantized: what :func:`rtseg.lab.deploy.quantize.quantize_network` made of it.
        form: as which it was made.
        in_float: names of the layers left in float.
        inputs: (1, 3, H, W) float32.

    Returns:
        One entry a layer, in the network's order.
    """
    nodes = calibration.network.graph.node
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    gives = {}
    for node in nodes:
        if node.op_type in WEIGHTED:
            following = readers.get(node.output[0], [])
            fused = len(following) == 1 and following[0].op_type in _ACTIVATIONS
            gives[node.name] = following[0].output[0] if fused else node.output[0]
    owner = {tensor: layer for layer, tensor in gives.items() if layer not in in_float}
    there = {name for node in quantized.graph.node for name in node.output}

    def rounded(tensor: str) -> str:
        name = f"{tensor}_DequantizeLinear_Output"
        return name if form == "cpu" and tensor in owner and name in there else tensor

    layers = [(node.name, node.input[0], gives[node.name]) for node in nodes if node.op_type in WEIGHTED]
    tensors = sorted({tensor for _, *around in layers for tensor in around})
    if form == "tensorrt":
        quantized = in_float_arithmetic(quantized)
    noise, signal = _compare(calibration.network, tensors, quantized, [rounded(tensor) for tensor in tensors], inputs)
    relative = {tensor: _relative_error(noise[tensor], signal[tensor]) for tensor in tensors}
    return [
        LayerError(
            layer=layer,
            sqnr_db=float(10 * np.log10(max(signal[after].sum(), 1e-30) / max(noise[after].sum(), 1e-30))),
            error=relative[after],
            added=max(0.0, relative[after] - relative[before]),
        )
        for layer, before, after in layers
    ]


def _relative_error(noise: NDArray[np.float64], signal: NDArray[np.float64]) -> float:
    alive = signal > 1e-12 * max(float(signal.max()), 1e-30)
    if not alive.any():
        return 0.0
    return float(np.sqrt(np.minimum(noise[alive] / signal[alive], 1.0)).mean())


def _compare(
    reference: onnx.ModelProto,
    tensors: Sequence[str],
    candidate: onnx.ModelProto,
    found_as: Sequence[str],
    inputs: Sequence[NDArray[np.float32]],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Per tensor and channel, sums of squares of the difference and of the reference."""
    sessions = [open_session(_exposed(reference, tensors)), open_session(_exposed(candidate, found_as))]
    name = reference.graph.input[0].name
    noise: dict[str, NDArray[np.float64]] = {}
    signal: dict[str, NDArray[np.float64]] = {}
    for value in inputs:
        expected, found = (
            session.run(names, {name: value})
            for session, names in zip(sessions, (_outputs(tensors, name), _outputs(found_as, name)), strict=True)
        )
        for tensor, a, b in zip(_outputs(tensors, name), expected, found, strict=True):
            a, b = (np.asarray(x, dtype=np.float64).reshape(x.shape[0], x.shape[1], -1) for x in (a, b))
            noise[tensor] = noise.get(tensor, 0.0) + np.square(a - b).sum(axis=(0, 2))
            signal[tensor] = signal.get(tensor, 0.0) + np.square(a).sum(axis=(0, 2))
    # The network's input is the same for both.
    noise.setdefault(name, np.zeros(1))
    signal.setdefault(name, np.ones(1))
    return noise, signal


def _outputs(tensors: Sequence[str], given: str) -> list[str]:
    return [tensor for tensor in tensors if tensor != given]


def _exposed(network: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The network with inner tensors among its outputs."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(network)
    known = {output.name for output in exposed.graph.output} | {exposed.graph.input[0].name}
    for tensor in dict.fromkeys(tensors):
        if tensor not in known:
            exposed.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return exposed
