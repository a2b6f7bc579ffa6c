"""Static int8 quantization of a network file: one calibration, a form for each backend, a report of what it costs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from rtseg.errors import ModelError
from rtseg.ops import preprocess
from rtseg.runtime.half_weights import with_float_weights

Form = Literal["cpu", "tensorrt"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
# Frames whose activations are all held until their histograms are taken: 0.14 GB each for instances-lite.
_HISTOGRAM_FRAMES = 4
# Layers that multiply by weights: what int8 speeds up, and what can be left in float one by one.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class QuantizationReport:
    """What quantization changed, over frames that did not calibrate it.

    Attributes:
        frames: number of frames compared.
        rms_error: root mean square difference of the logits, relative to the float logits' standard deviation.
        id_agreement: share of pixels, of those either network gives to a line, whose strongest output is the same.
        background_agreement: share of all pixels on which the networks agree whether there is a line.
    """

    frames: int
    rms_error: float
    id_agreement: float
    background_agreement: float


@dataclass(frozen=True)
class Calibration:
    """A float network and the range of each of its tensors over the calibration frames.

    Attributes:
        network: the float network, with shapes inferred.
        ranges: ONNX Runtime's table of ranges.
    """

    network: onnx.ModelProto
    ranges: TensorsData

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with weights, in order."""
        return layer_names(self.network)

    @property
    def head(self) -> tuple[str, ...]:
        """The layers that give the outputs, and what follows them: small, and grouping wants them fine, so in float."""
        wanted = {output.name for output in self.network.graph.output}
        found = []
        for node in reversed(self.network.graph.node):
            if wanted & set(node.output):
                found.append(node.name)
                if node.op_type not in WEIGHTED:
                    wanted.update(node.input)
        return tuple(reversed(found))


class _Frames(CalibrationDataReader):
    def __init__(self, inputs: Sequence[NDArray[np.float32]], name: str) -> None:
        self._left = iter([{name: value} for value in inputs])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:  # type: ignore[override]
        return next(self._left, None)


def network_inputs(
    images: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    order: Literal["rgb", "bgr"] = "rgb",
) -> list[NDArray[np.float32]]:
    """Bring frames (H, W, 3) uint8 BGR to the network's input through the runtime's own preprocessing."""
    return [np.array(preprocess(image, size, tuple(mean), tuple(std), order)) for image in images]


def read_float_network(path: Path) -> onnx.ModelProto:
    """Read a float network as it is quantized: float32 weights, shapes inferred, a name for each node.

    Raises:
        ModelError: if it cannot be read.
    """
    try:
        return _prepared(onnx.shape_inference.infer_shapes(with_float_weights(onnx.load(path))))
    except Exception as error:  # protobuf and ONNX raise kinds of their own
        raise ModelError(f"{path} could not be read: {error}") from error


def layer_names(network: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the layers with weights, in order: those that can be left in float one by one."""
    return tuple(node.name for node in network.graph.node if node.op_type in WEIGHTED)


def calibrate_ranges(
    network: onnx.ModelProto, inputs: Sequence[NDArray[np.float32]], method: str = "minmax"
) -> Calibration:
    """Run a float network over calibration inputs and note the range of each tensor.

    Args:
        network: of :func:`read_float_network`, with one input.
        inputs: calibration inputs (1, 3, H, W) float32, of at least a few dozen different frames.
        method: "minmax", "percentile" or "entropy": how an activation's range is chosen.

    Raises:
        ModelError: if there is nothing to calibrate with, or the network cannot be run.
    """
    if not len(inputs):
        raise ModelError("expected frames to calibrate int8 with, got none; give a folder of frames or rendered seeds")
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            prepared = Path(folder) / "prepared.onnx"
            onnx.save(network, prepared)
            calibrator = create_calibrator(
                prepared,
                _quantized_operators("cpu"),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=_METHODS[method],
                extra_options={"percentile": 99.99} if method == "percentile" else {},
            )
            name, step = network.graph.input[0].name, len(inputs) if method == "minmax" else _HISTOGRAM_FRAMES
            for i in range(0, len(inputs), step):
                calibrator.collect_data(_Frames(inputs[i : i + step], name))
            ranges = calibrator.compute_data()
    except Exception as error:  # ONNX and ONNX Runtime each raise kinds of their own
        raise ModelError(f"the network could not be calibrated: {error}") from error
    return Calibration(network, ranges)


def quantize_network(calibration: Calibration, form: Form, in_float: Sequence[str] = ()) -> onnx.ModelProto:
    """Put Q/DQ nodes into a calibrated network.

    Both forms have int8 weights per channel. ``cpu`` has uint8 activations with zero points on both sides of each layer
    and int32 biases: ONNX Runtime fuses these into integer kernels; no two of its weights overflow on a CPU that adds
    up pairs of products in 16 bits. ``tensorrt`` has symmetric int8 activations at the inputs of layers alone, so that
    a layer's bias, activation and residual sum fuse into it, and leaves biases alone.

    Args:
        calibration: the network and its ranges.
        form: what the file is for.
        in_float: names of layers that stay in float, beside the head.

    Raises:
        ModelError: if the network cannot be quantized.
    """
    options: dict[str, Any] = {}
    if form == "tensorrt":
        options = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(WEIGHTED),
        }
    else:
        options = {"TensorQuantOverrides": _ranges_of_weights(calibration.network)}
    network = onnx.ModelProto()
    network.CopyFrom(calibration.network)
    try:
        with _quiet():
            quantizer = QDQQuantizer(
                network,
                True,  # per channel
                False,
                QuantType.QInt8,
                QuantType.QInt8 if form == "tensorrt" else QuantType.QUInt8,
                calibration.ranges,
                [],
                sorted({*calibration.head, *in_float}),
                _quantized_operators(form),
                options,
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the network could not be quantized for {form}: {error}") from error
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def _ranges_of_weights(network: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """The range of each output channel's weights: what the two greatest of one sign add up to.

    x86 CPUs without VNNI multiply bytes by weights and add two products up in 16 bits, where what is over 32,767 is
    lost: 255 times two weights that add up to more than 128. With ranges as wide as this none do, and a network gives
    the same on every CPU. Depthwise layers, which are multiplied in other ways, keep that of their greatest weight.
    """
    weights = {tensor.name: tensor for tensor in network.graph.initializer}
    ranges = {}
    for node in network.graph.node:
        tensor = weights.get(node.input[1]) if node.op_type in WEIGHTED else None
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        if tensor is None or len(tensor.dims) < 2 or 1 < settings.get("group", 1) == tensor.dims[0]:
            continue
        axis = 0 if node.op_type == "Conv" or settings.get("transB") else 1
        values = np.moveaxis(numpy_helper.to_array(tensor), axis, 0)
        ordered = np.sort(values.reshape(len(values), -1), axis=1)
        both = np.maximum(ordered[:, -2:].clip(min=0).sum(1), -ordered[:, :2].clip(max=0).sum(1))
        ranges[tensor.name] = [{"axis": axis, "rmin": -value, "rmax": value} for value in both.tolist()]
    return ranges


def compare_networks(reference: Path, candidate: Path, inputs: Sequence[NDArray[np.float32]]) -> QuantizationReport:
    """Compare two network files' logits on the same inputs."""
    sessions = [open_session(path) for path in (reference, candidate)]
    squares, spread, same, union, agree, pixels = 0.0, [], 0, 0, 0, 0
    for value in inputs:
        expected, found = (np.asarray(s.run(None, {s.get_inputs()[0].name: value})[0][0]) for s in sessions)
        squares += float(np.square(found - expected, dtype=np.float64).mean())
        spread.append(float(expected.var()))
        a, b = expected.argmax(0), found.argmax(0)
        either = (a > 0) | (b > 0)
        union += int(either.sum())
        same += int(((a == b) & either).sum())
        agree += int(((a > 0) == (b > 0)).sum())
        pixels += a.size
    return QuantizationReport(
        frames=len(inputs),
        rms_error=float(np.sqrt(squares / max(sum(spread), 1e-12))),
        id_agreement=same / max(union, 1),
        background_agreement=agree / max(pixels, 1),
    )


def open_session(network: Path | onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Open a network, from its file or from memory, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    content = str(network) if isinstance(network, Path) else network.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _quantized_operators(form: Form) -> list[str]:
    return list(WEIGHTED) if form == "tensorrt" else sorted({*QLinearOpsRegistry, *QDQRegistry})


def _prepared(network: onnx.ModelProto) -> onnx.ModelProto:
    """Name nodes that have no name, since layers are left in float by name, and drop constants that nobody reads."""
    for i, node in enumerate(network.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    read = {name for node in network.graph.node for name in node.input}
    kept = [tensor for tensor in network.graph.initializer if tensor.name in read]
    del network.graph.initializer[:]
    network.graph.initializer.extend(kept)
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice that ONNX Runtime's tool gives on the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
