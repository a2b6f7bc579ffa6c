"""Float networks whose weights are stored in float16: half the size on disk, float32 in every computation.

A network so stored is plain ONNX: each weight is a float16 tensor and a ``Cast`` to float32 behind it, which ONNX
Runtime and OpenVINO fold when they load it. What reads weights itself puts them back with :func:`with_float_weights`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_STORED = "_in_half"  # ends the name of a stored tensor; its Cast gives the name without
_SMALLEST = 16384  # values: the small layers at the front, whose rounding costs most, stay as they are
_TOLERANCE = 2.0**-11  # half a unit in the last place of float16, relative to the largest weight of a tensor


def with_half_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights of a float network in float16.

    Args:
        network: any network; a tensor of float32 with at least 16384 values is stored, unless float16 cannot hold it to
            half a unit in the last place of its largest value.

    Returns:
        A network that computes in float32 as before, from weights that are rounded once.
    """
    import onnx

    stored = onnx.ModelProto()
    stored.CopyFrom(network)
    graph, casts = stored.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.size < _SMALLEST:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            half = weights.astype(np.float16)
            error = np.abs(half.astype(np.float32) - weights).max()
        if not error <= _TOLERANCE * np.abs(weights).max():
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, name + _STORED))
        casts.append(onnx.helper.make_node("Cast", [name + _STORED], [name], name + _STORED, to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return stored


def with_float_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """Put weights that were stored in float16 back as the float32 tensors that they stand for.

    Args:
        network: a network of :func:`with_half_weights`, or any other, which is given back as it is.

    Returns:
        A network without their casts that computes the same to the bit.
    """
    import onnx

    stored = {tensor.name: tensor for tensor in network.graph.initializer if tensor.name.endswith(_STORED)}
    casts = [node for node in network.graph.node if node.op_type == "Cast" and node.input[0] in stored]
    if not casts:
        return network
    plain = onnx.ModelProto()
    plain.CopyFrom(network)
    names = {node.input[0]: node.output[0] for node in casts}
    for tensor in plain.graph.initializer:
        if tensor.name in names:
            weights = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights, names[tensor.name]))
    nodes = [node for node in plain.graph.node if not (node.op_type == "Cast" and node.input[0] in names)]
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    return plain
