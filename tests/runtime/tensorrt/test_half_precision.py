"""The fp16 cast of float and Q/DQ networks, run in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from rtseg.lab.render import render_road
from rtseg.ops import preprocess
from rtseg.runtime import find_model
from rtseg.runtime.card import ModelFile
from rtseg.runtime.models import Model
from rtseg.runtime.tensorrt.half_precision import cast_to_half, in_float


@pytest.fixture(scope="module")
def model() -> Model:
    return find_model("lanes-lite")


@pytest.fixture(scope="module")
def image(model: Model) -> np.ndarray:
    needs = model.card.input
    return preprocess(render_road(3).image, (needs.height, needs.width), needs.mean, needs.std, needs.order).copy()


def file_for_tensorrt(model: Model, precision: str) -> ModelFile:
    return next(file for file in model.card.files if file.precision == precision and file.is_for("tensorrt"))


def logits(network: bytes, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        network, options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    return session.run(None, {"image": image})[0]


@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.01), ("int8", 0.06)])
def test_the_cast_changes_little_and_leaves_integers_alone(
    model: Model, image: np.ndarray, precision: str, most: float
) -> None:
    content = (model.path.parent / file_for_tensorrt(model, precision).file).read_bytes()
    half = cast_to_half(content)
    before, after = (onnx.load_from_string(network) for network in (in_float(content), half))
    reference = logits((model.path.parent / file_for_tensorrt(model, "fp32").file).read_bytes(), image)
    found = logits(half, image)
    assert found.dtype == np.float32
    assert np.sqrt(np.square(found - reference).mean()) < most * reference.std()
    counts = [Counter(node.op_type for node in network.graph.node) for network in (before, after)]
    assert counts[1] - counts[0] == {"Cast": 2}
    integers = [
        {tensor.name for tensor in network.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
        for network in (before, after)
    ]
    assert integers[0] == integers[1]
    # Only the scales of Resize stay float32.
    assert not any(t.data_type == onnx.TensorProto.FLOAT for t in after.graph.initializer if len(t.dims) > 1)
