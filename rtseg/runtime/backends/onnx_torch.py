"""An ONNX file as a torch function: the operators that exported networks consist of, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rtseg.errors import BackendError, ModelError
from rtseg.runtime.backends.loading_faults import cannot_load
from rtseg.runtime.half_weights import with_float_weights

Attributes = dict[str, Any]
Operator = Callable[[list[Any], Attributes], "torch.Tensor | tuple[torch.Tensor, ...]"]


class OnnxNetwork:
    """A network read from an ONNX file, with its weights on a torch device.

    Args:
        path: the file.
        device: where the weights go.
        dtype: that everything is computed in.

    Attributes:
        inputs: shape by name.
        outputs: shape by name.

    Raises:
        ModelError: if the file is no network, is quantized, or holds an operator that is not known here.
        BackendError: if the package onnx is missing.
    """

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype) -> None:
        try:
            import onnx
        except ImportError as error:
            raise BackendError(f"the torch backend needs the package onnx ({error}): pip install onnx") from error
        try:
            graph = with_float_weights(onnx.load(path)).graph
        except Exception as error:  # protobuf raises types of its own
            raise cannot_load("torch", path, error) from error
        _check_operators(path, [node.op_type for node in graph.node])
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._steps: list[tuple[Operator, list[str], Attributes, list[str], list[str]]] = []
        for node in graph.node:
            attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
            else:
                self._steps.append((_OPERATORS[node.op_type], list(node.input), attributes, list(node.output), []))
        # Sizes, axes and limits stay numbers: reading them from the device would wait for it.
        told = {name for node in graph.node if node.op_type in _TOLD for name in node.input[1:]}
        self._constants = {
            name: _numbers(array) if name in told else _tensor(array, device, dtype)
            for name, array in constants.items()
        }
        self._input = next(entry.name for entry in graph.input if entry.name not in constants)
        self.inputs = {entry.name: _shape(entry) for entry in graph.input if entry.name not in constants}
        self.outputs = {entry.name: _shape(entry) for entry in graph.output}
        self._forget_after_last_use()

    def __call__(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the network on (1, 3, h, w) and give its outputs by name."""
        values: dict[str, Any] = {**self._constants, self._input: tensor, "": None}
        for operator, inputs, attributes, outputs, last in self._steps:
            made = operator([values[name] for name in inputs], attributes)
            values.update(zip(outputs, made if isinstance(made, tuple) else (made,), strict=True))
            for name in last:
                del values[name]
        return {name: values[name] for name in self.outputs}

    def _forget_after_last_use(self) -> None:
        seen = {*self.outputs, *self._constants, ""}
        for _, inputs, _, _, last in reversed(self._steps):
            last.extend(sorted(set(inputs) - seen))
            seen.update(inputs)


def _check_operators(path: Path, operators: list[str]) -> None:
    if any(name in ("QuantizeLinear", "DequantizeLinear") or name.startswith("QLinear") for name in operators):
        raise ModelError(f"expected a float network for torch, {path.name} is quantized; name the card's fp32 network")
    unknown = sorted(set(operators) - set(_OPERATORS) - {"Constant"})
    if unknown:
        raise ModelError(
            f"expected operators that the torch backend knows, {path.name} has {', '.join(unknown)}; run it with ONNX "
            "Runtime or TensorRT"
        )


def _numbers(array: np.ndarray) -> Any:
    return array.tolist() if array.size else None


def _tensor(array: np.ndarray, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array)).to(device)
    if tensor.is_floating_point():
        tensor = tensor.to(dtype)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _shape(entry: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in entry.type.tensor_type.shape.dim)


def _padded(x: torch.Tensor, attributes: Attributes, value: float = 0.0) -> tuple[torch.Tensor, list[int]]:
    """Padding that is the same on both sides is left to the operator, other padding is written out."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelError("expected explicit padding, the network has auto_pad; export the model again")
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        return x, [top, left]
    return functional.pad(x, (left, right, top, bottom), value=value), [0, 0]


def _conv(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, padding = _padded(inputs[0], attributes)
    weight, bias = inputs[1], inputs[2] if len(inputs) > 2 else None
    strides, dilations = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
    return functional.conv2d(x, weight, bias, strides, padding, dilations, attributes.get("group", 1))


def _max_pool(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, padding = _padded(inputs[0], attributes, -torch.inf)
    size, strides = attributes["kernel_shape"], attributes.get("strides", (1, 1))
    return functional.max_pool2d(
        x, size, strides, padding, attributes.get("dilations", (1, 1)), bool(attributes.get("ceil_mode", 0))
    )


def _average_pool(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    count = bool(attributes.get("count_include_pad", 0))
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right) and not count:
        raise ModelError("expected the same padding on both sides of an average pooling; export the model again")
    x, padding = _padded(inputs[0], attributes)
    size, strides = attributes["kernel_shape"], attributes.get("strides", (1, 1))
    return functional.avg_pool2d(x, size, strides, padding, bool(attributes.get("ceil_mode", 0)), count)


def _resize(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x = inputs[0]
    _, _, scales, sizes = (*inputs, None, None)[:4]
    if sizes is not None:
        size = [int(side) for side in sizes[-2:]]
    else:
        size = [int(side * scale) for side, scale in zip(x.shape[-2:], scales[-2:], strict=True)]
    mode = attributes.get("mode", b"nearest"), attributes.get("coordinate_transformation_mode", b"half_pixel")
    if mode in ((b"linear", b"half_pixel"), (b"linear", b"pytorch_half_pixel")):
        return functional.interpolate(x, size, mode="bilinear", align_corners=False)
    if mode == (b"linear", b"align_corners"):
        return functional.interpolate(x, size, mode="bilinear", align_corners=True)
    if mode == (b"nearest", b"asymmetric") and attributes.get("nearest_mode", b"") == b"floor":
        return functional.interpolate(x, size, mode="nearest")
    raise ModelError(f"expected a linear or nearest Resize as torch exports it, the network has {mode}")


def _batch_norm(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, weight, bias, mean, variance = inputs
    return functional.batch_norm(x, mean, variance, weight, bias, eps=attributes.get("epsilon", 1e-5))


def _clip(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    low, high = (*inputs[1:], None, None)[:2]  # inputs since opset 11, attributes before
    return inputs[0].clamp(attributes.get("min", low), attributes.get("max", high))


def _conv_transpose(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right) or "output_shape" in attributes or "auto_pad" in attributes:
        raise ModelError("expected the same padding on both sides of a ConvTranspose; export the model again")
    x, weight, bias = (*inputs, None)[:3]
    strides, more = attributes.get("strides", (1, 1)), attributes.get("output_padding", (0, 0))
    groups, dilations = attributes.get("group", 1), attributes.get("dilations", (1, 1))
    return functional.conv_transpose2d(x, weight, bias, strides, (top, left), more, groups, dilations)


def _pad(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, pads, value, axes = (*inputs, None, None)[:4]
    if attributes.get("mode", b"constant") != b"constant" or axes is not None:
        raise ModelError("expected a Pad with a constant on all axes; export the model again")
    sides = [side for axis in reversed(range(x.ndim)) for side in (pads[axis], pads[axis + x.ndim])]
    return functional.pad(x, sides, value=value or 0.0)


def _reduce(how: Callable[..., torch.Tensor]) -> Operator:
    def reduce(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
        axes = inputs[1] if len(inputs) > 1 else attributes.get("axes")
        every = tuple(range(inputs[0].ndim))
        return how(inputs[0], dim=tuple(axes or every), keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


def _slice(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, starts, ends, axes, steps = (*inputs, None, None)[:5]
    where = [slice(None)] * x.ndim
    for i, axis in enumerate(axes or range(len(starts))):
        step = steps[i] if steps else 1
        if step < 1:
            raise ModelError("expected a Slice that goes forward, the network has one that goes back")
        where[axis] = slice(starts[i], ends[i], step)
    return x[tuple(where)]


def _split(inputs: list[Any], attributes: Attributes) -> tuple[torch.Tensor, ...]:
    if len(inputs) < 2:
        raise ModelError("expected a Split that names its sizes; export the model again")
    return torch.split(inputs[0], inputs[1], dim=attributes.get("axis", 0))


def _squeeze(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    return inputs[0].squeeze(dim=tuple(inputs[1])) if len(inputs) > 1 else inputs[0].squeeze()


def _unsqueeze(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, axes = inputs
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _gather(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, index = inputs
    axis = attributes.get("axis", 0) % x.ndim
    found = x.index_select(axis, index.reshape(-1) % x.shape[axis])  # negative indices count from the end
    return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _reshape(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    x, shape = inputs
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(shape)])


def _expand(inputs: list[Any], attributes: Attributes) -> torch.Tensor:
    return inputs[0].broadcast_to(torch.broadcast_shapes(inputs[0].shape, inputs[1]))


# Operators whose inputs after the first are numbers for Python.
_TOLD = (
    "Clip",
    "Expand",
    "Pad",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
)

_OPERATORS: dict[str, Operator] = {
    "Add": lambda x, a: x[0] + x[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda x, a: torch.cat(x, dim=a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": lambda x, a: x[0] / x[1],
    "Expand": _expand,
    "Gather": _gather,
    "GlobalAveragePool": lambda x, a: x[0].mean(dim=(2, 3), keepdim=True),
    "Identity": lambda x, a: x[0],
    "LeakyRelu": lambda x, a: functional.leaky_relu(x[0], a.get("alpha", 0.01)),
    "MatMul": lambda x, a: x[0] @ x[1],
    "MaxPool": _max_pool,
    "Mul": lambda x, a: x[0] * x[1],
    "Pad": _pad,
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda x, a: x[0].relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Slice": _slice,
    "Softmax": lambda x, a: x[0].softmax(dim=a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda x, a: x[0] - x[1],
    "Tanh": lambda x, a: x[0].tanh(),
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}
