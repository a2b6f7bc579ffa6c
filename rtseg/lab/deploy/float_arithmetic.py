"""A quantized network computed in float, so that a CPU shows what another kind of hardware will make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.helper import get_attribute_value, make_node

from rtseg.errors import ModelError

Constants = dict[str, NDArray[Any]]


def in_float_arithmetic(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with float operators in place of Q/DQ nodes: to a float's rounding what the file says.

    Runtimes on CPUs make integer kernels of Q/DQ nodes. Made for TensorRT, whose int8 activations and weights use all
    of eight bits, they overflow on x86 CPUs without VNNI, so that a score measured by them says nothing of the card.

    Args:
        network: with Q/DQ nodes of int8 and uint8; it is left as it is.

    Raises:
        ModelError: an activation has a zero point for each channel.
    """
    constants: Constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in network.graph.initializer}
    made = onnx.ModelProto()
    made.CopyFrom(network)
    del made.graph.node[:]
    for node in network.graph.node:
        if node.op_type == "QuantizeLinear":
            made.graph.node.extend(_quantize(node, constants))
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            made.graph.initializer.append(numpy_helper.from_array(_dequantized(node, constants), node.output[0]))
        elif node.op_type == "DequantizeLinear":
            zero = _shifted_by(node, constants)
            made.graph.node.append(make_node("Sub", [node.input[0], zero], [f"{node.output[0]}_from_0"]))
            made.graph.node.append(make_node("Mul", [f"{node.output[0]}_from_0", node.input[1]], node.output))
        else:
            made.graph.node.append(node)
    for name, value in constants.items():
        if value.dtype in (np.int8, np.uint8) and value.ndim == 0:
            made.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_float"))
            limits = np.iinfo(value.dtype)
            for bound, limit in (("least", limits.min), ("most", limits.max)):
                made.graph.initializer.append(numpy_helper.from_array(np.float32(limit), f"{name}_{bound}"))
    return made


def _shifted_by(node: onnx.NodeProto, constants: Constants) -> str:
    name = node.input[2]
    if constants[name].ndim:
        raise ModelError(f"expected one zero point for {node.input[0]}, got one for each channel")
    return f"{name}_float"


def _quantize(node: onnx.NodeProto, constants: Constants) -> Iterator[onnx.NodeProto]:
    """Division, rounding half to even and clipping, after which values are whole numbers in float."""
    zero, out = _shifted_by(node, constants), node.output[0]
    yield make_node("Div", [node.input[0], node.input[1]], [f"{out}_scaled"])
    yield make_node("Round", [f"{out}_scaled"], [f"{out}_rounded"])
    yield make_node("Add", [f"{out}_rounded", zero], [f"{out}_shifted"])
    yield make_node("Clip", [f"{out}_shifted", f"{node.input[2]}_least", f"{node.input[2]}_most"], [out])


def _dequantized(node: onnx.NodeProto, constants: Constants) -> NDArray[np.float32]:
    values, scale, zero = (constants[name].astype(np.float32) for name in node.input)
    if scale.ndim:
        axis = next((get_attribute_value(attribute) for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    found: NDArray[np.float32] = (values - zero) * scale
    return found
