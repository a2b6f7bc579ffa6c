"""The network files of a model folder: float, int8 for CPUs, int8 for TensorRT, from one calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from rtseg.lab.deploy.quantize import Calibration, quantize_network
from rtseg.runtime.card import ModelFile, sha256_of

FLOAT, INT8, INT8_TENSORRT = "model-fp32.onnx", "model.onnx", "model-int8-tensorrt.onnx"


def write_int8_networks(calibration: Calibration, folder: Path, in_float: Sequence[str] = ()) -> None:
    """Write both int8 forms of a calibrated network into `folder`.

    Args:
        calibration: the network and its ranges.
        folder: where :data:`INT8` and :data:`INT8_TENSORRT` go.
        in_float: names of layers that stay in float, beside the head.

    Raises:
        ModelError: if the network cannot be quantized.
    """
    onnx.save(quantize_network(calibration, "cpu", in_float), folder / INT8)
    onnx.save(quantize_network(calibration, "tensorrt", in_float), folder / INT8_TENSORRT)


def network_files(folder: Path) -> tuple[ModelFile, tuple[ModelFile, ...]]:
    """The card's entries for the three networks in `folder`: the model, and its alternatives."""
    model = ModelFile(
        file=INT8, sha256=sha256_of(folder / INT8), precision="int8", backends=("onnxruntime", "openvino")
    )
    return model, (
        ModelFile(file=FLOAT, sha256=sha256_of(folder / FLOAT), precision="fp32"),
        ModelFile(
            file=INT8_TENSORRT,
            sha256=sha256_of(folder / INT8_TENSORRT),
            precision="int8",
            backends=("tensorrt",),
        ),
    )
