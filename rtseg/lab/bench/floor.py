"""The least time a frame could take here: operations over a measured matrix rate, bytes over a measured bandwidth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtseg.errors import BackendError
from rtseg.lab.bench.result import Floor
from rtseg.runtime import ModelCard
from rtseg.runtime.device import device_faults

_SIDE = 1024  # of the matrices multiplied on a CPU: large enough for every core, small enough to repeat
_DEVICE_SIDE = 8192
_COPIED = 64 << 20  # bytes, beyond any cache
_REPEATS = 12


@dataclass(frozen=True)
class NetworkCost:
    """What a network has to compute and read.

    Attributes:
        macs: multiplications with an addition each, of layers with weights.
        weight_bytes: of all constants, as stored.
    """

    macs: int
    weight_bytes: int


def network_cost(path: Path) -> NetworkCost:
    """Count from an ONNX file, float or Q/DQ.

    Raises:
        BackendError: the package onnx is missing, or a layer's shape is not fixed.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendError(f"counting operations needs the package onnx ({error}): pip install onnx") from error
    network = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = network.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values}
    shapes.update({tensor.name: list(tensor.dims) for tensor in graph.initializer})
    macs = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        given, weight, made = (shapes.get(name, []) for name in (node.input[0], node.input[1], node.output[0]))
        if not (given and weight and made) or 0 in (*given, *weight, *made):
            raise BackendError(f"expected fixed shapes around {node.name or node.op_type}, got {given} and {made}")
        if node.op_type == "Conv":
            macs += int(np.prod(weight[1:], dtype=np.int64) * np.prod(made, dtype=np.int64))
        elif node.op_type == "ConvTranspose":
            macs += int(np.prod(weight[1:], dtype=np.int64) * np.prod(given, dtype=np.int64))
        else:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            macs += int(np.prod(made, dtype=np.int64) * given[-2 if transposed else -1])
    return NetworkCost(macs, sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in graph.initializer))


def least_bytes(card: ModelCard, cost: NetworkCost, size: tuple[int, int]) -> int:
    """Bytes that have to be read or written for one frame of `size` (height, width), whatever the code.

    The frame is read, the network's input written and read, its weights read, its outputs written and read, the mask
    written; what layers pass to each other may stay in a cache and does not count.
    """
    needs = card.input
    pixels, inner = size[0] * size[1], needs.width * needs.height
    outputs = sum(math.prod(output.sides(needs)) for output in card.outputs)
    mask = 1 if card.task == "lanes" else 4
    return 3 * pixels + 2 * 4 * 3 * inner + cost.weight_bytes + 2 * 4 * outputs + mask * pixels


def measure_floor(
    card: ModelCard,
    network: Path,
    precision: str,
    size: tuple[int, int],
    threads: int,
    on_device: bool,
    whole_ms: float,
    infer_ms: float,
) -> Floor:
    """Measure this machine's rates and hold a run against them.

    Args:
        card: of the model.
        network: the file that ran.
        precision: of the file; on a device what ran is taken to be float16 at best.
        size: (height, width) of the frames.
        threads: of the network on a CPU.
        on_device: whether it ran on a card.
        whole_ms: median of a frame.
        infer_ms: median of the network alone.

    Returns:
        A floor, or one without figures that says why.
    """
    try:
        cost = network_cost(network)
        precision = "fp16" if on_device else "int8" if precision == "int8" else "fp32"
        if on_device:
            with device_faults("measuring the floor"):  # a missing cuBLAS, or no memory left, among others
                rate, bandwidth = _device_rate(), _device_bandwidth()
        else:
            rate, bandwidth = _host_rate(precision, threads), _host_bandwidth()
    except BackendError as error:
        return Floor(reason=str(error))
    count = least_bytes(card, cost, size)
    compute, copy = 2e3 * cost.macs / rate, 1e3 * count / bandwidth
    return Floor(
        macs=cost.macs,
        precision=precision,
        megabytes=round(count / 1e6, 3),
        giga_ops=round(rate / 1e9, 1),
        copy_gigabytes=round(bandwidth / 1e9, 2),
        compute_ms=round(compute, 4),
        copy_ms=round(copy, 4),
        times_over=round(whole_ms / max(compute, copy), 2),
        infer_times_over=round(infer_ms / compute, 2),
    )


def _host_rate(precision: str, threads: int) -> float:
    """Operations a second of ONNX Runtime's own matrix product, with as many threads as the network has."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    if precision == "int8":
        weight = helper.make_tensor(
            "b", TensorProto.INT8, (_SIDE, _SIDE), rng.integers(-99, 99, (_SIDE, _SIDE), np.int8).tobytes(), raw=True
        )
        kinds, operator = (TensorProto.UINT8, TensorProto.INT32), "MatMulInteger"
        value: Any = rng.integers(0, 255, (_SIDE, _SIDE), np.uint8)
    else:
        value = rng.random((_SIDE, _SIDE), np.float32)
        weight = helper.make_tensor("b", TensorProto.FLOAT, (_SIDE, _SIDE), value.T.tobytes(), raw=True)
        kinds, operator = (TensorProto.FLOAT, TensorProto.FLOAT), "MatMul"
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", kinds[0], (_SIDE, _SIDE))],
        [helper.make_tensor_value_info("c", kinds[1], (_SIDE, _SIDE))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return 2 * _SIDE**3 / _least_seconds(lambda: session.run(None, {"a": value}))


def _host_bandwidth() -> float:
    source, target = np.ones(_COPIED // 8), np.zeros(_COPIED // 8)
    return 2 * _COPIED / _least_seconds(lambda: np.copyto(target, source))


def _device_rate() -> float:
    import cupy

    a = cupy.ones((_DEVICE_SIDE, _DEVICE_SIDE), cupy.float16)
    out = cupy.empty_like(a)

    def multiply() -> None:
        cupy.matmul(a, a, out=out)
        cupy.cuda.get_current_stream().synchronize()

    return 2 * _DEVICE_SIDE**3 / _least_seconds(multiply)


def _device_bandwidth() -> float:
    import cupy

    free, _ = cupy.cuda.runtime.memGetInfo()
    count = min(16 * _COPIED, free // 4)
    source, target = cupy.ones(count // 8), cupy.zeros(count // 8)

    def copy() -> None:
        cupy.copyto(target, source)
        cupy.cuda.get_current_stream().synchronize()

    return 2 * source.nbytes / _least_seconds(copy)


def _least_seconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)
