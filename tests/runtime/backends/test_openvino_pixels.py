"""Int8 networks that take a picture's own bytes give what they give of the normalized picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rtseg.runtime.backends import create_backend
from rtseg.runtime.backends.flip import FlipBackend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import network_input, network_pixels
from rtseg.runtime.models import bundled_models, find_model
from rtseg.runtime.selection import network_for
from tests.threshold_network import CHANNELS, HEIGHT, WIDTH, threshold_card

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")

RNG = np.random.default_rng(0)
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
CENTERED = {"mean": (127.0,) * 3, "std": (128.0,) * 3}


def quantized(folder: Path, levels: tuple[float, int, str] | None, **fields: object) -> tuple[Path, ModelCard]:
    """A convolution whose input is rounded to levels of (scale, zero point, type), and its card."""
    weight = RNG.normal(size=(CHANNELS, 3, 4, 4)).astype(np.float32)
    constants, nodes, source = [numpy_helper.from_array(weight, "weight")], [], "image"
    if levels is not None:
        scale, zero, kind = levels
        constants.append(numpy_helper.from_array(np.float32(scale), "scale"))
        constants.append(numpy_helper.from_array(np.array(zero, kind), "zero"))
        nodes = [
            helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["bytes"]),
            helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["levels"]),
        ]
        source = "levels"
    nodes.append(helper.make_node("Conv", [source, "weight"], ["logits"], strides=[4, 4]))
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CHANNELS, HEIGHT // 4, WIDTH // 4])],
        constants,
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    card = threshold_card()
    return path, ModelCard.model_validate({**card, "input": {**card["input"], **fields}})


def read_twice(path: Path, card: ModelCard) -> tuple[bool, np.ndarray, np.ndarray]:
    """Whether OpenVINO takes pixels, and what it and ONNX Runtime give of a frame."""
    image = RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    backend = create_backend("openvino", path, card, threads=1)
    backend.warm_up()
    prepare = network_pixels if backend.takes_pixels else network_input
    got = backend.infer(prepare(image, card.input))["logits"]
    other = create_backend("onnxruntime", path, card, threads=1)
    return backend.takes_pixels, got, other.infer(network_input(image, card.input))["logits"]


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("levels", [(1 / 128, 127, "uint8"), (1 / 128, -1, "int8")])
def test_levels_that_are_those_of_pixels(tmp_path: Path, levels: tuple[float, int, str], order: str, fit: str) -> None:
    takes, got, expected = read_twice(*quantized(tmp_path, levels, **CENTERED, order=order, fit=fit))
    assert takes
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("levels", "normalization"),
    [
        (None, CENTERED),
        ((1 / 76.3, 127, "uint8"), CENTERED),  # some pixels' values share a level
        ((1 / 128, 100, "uint8"), CENTERED),  # dark pixels' values in one level
        ((1 / 128, 127, "uint8"), {**CENTERED, "mean": (127.0, 127.0, 120.0)}),
        ((1 / 128, 127, "uint8"), {**CENTERED, "std": (128.0, 64.0, 128.0)}),
        ((2.7 / 128, 127, "uint8"), IMAGENET),
    ],
)
def test_others_get_the_normalized_picture(
    tmp_path: Path, levels: tuple[float, int, str] | None, normalization: dict[str, tuple[float, ...]]
) -> None:
    takes, got, expected = read_twice(*quantized(tmp_path, levels, **normalization))
    assert not takes
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_a_mirror_image_of_pixels_is_one_of_the_picture(tmp_path: Path) -> None:
    path, card = quantized(tmp_path, (1 / 128, 127, "uint8"), **CENTERED)
    image = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    flipped = FlipBackend(create_backend("openvino", path, card, threads=1), {"logits": None})
    other = FlipBackend(create_backend("onnxruntime", path, card, threads=1), {"logits": None})
    assert flipped.takes_pixels
    got = flipped.infer(network_pixels(image, card.input))["logits"]
    np.testing.assert_allclose(got, other.infer(network_input(image, card.input))["logits"], atol=1e-4)


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_networks_compute_the_same_to_the_last_bit(name: str) -> None:
    model = find_model(name)
    path, needs = network_for(model, "openvino", on_device=False), model.card.input
    image = RNG.integers(0, 256, (300, 500, 3), dtype=np.uint8)
    backend = create_backend("openvino", path, model.card, threads=1)
    got = backend.infer((network_pixels if backend.takes_pixels else network_input)(image, needs))
    precise = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    plain = openvino.Core().compile_model(path, "CPU", precise)(network_input(image, needs))
    assert backend.takes_pixels == (needs.std == (128.0,) * 3)
    for port, values in plain.items():
        np.testing.assert_array_equal(got[next(iter(port.get_names() & got.keys()))], values)
