"""A lane network small enough to reason about: color thresholds instead of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rtseg.runtime.card import ModelCard, sha256_of

WIDTH, HEIGHT, CHANNELS = 64, 32, 7


def threshold_card() -> dict[str, Any]:
    """A valid card for the threshold network, except that its hash is not filled in."""
    return {
        "name": "thresholds",
        "family": "l2c",
        "task": "lanes",
        "summary": "Color thresholds.",
        "licence": "Apache-2.0",
        "model": {"file": "model.onnx", "sha256": "0" * 64, "precision": "fp32"},
        "input": {"width": WIDTH, "height": HEIGHT, "order": "rgb", "mean": [0, 0, 0], "std": [255, 255, 255]},
        "outputs": [{"name": "logits", "channels": CHANNELS, "stride": 4}],
        "grouping": {"method": "lanes"},
        "classes": ["lane"],
        "training": {"command": "none", "data": [], "seed": 0},
    }


def write_threshold_network(path: Path, channels: int = CHANNELS) -> None:
    """Background 0.5; channel 1 answers to red, channel 2 to green, channel 3 to blue; stride 4 by average pooling."""
    weight = np.full((channels, 3, 1, 1), -1.0, dtype=np.float32)
    weight[0] = 0.0
    for color in range(3):
        weight[color + 1, color] = 2.0
    bias = np.zeros(channels, dtype=np.float32)
    bias[0] = 0.5
    bias[4:] = -9.0
    nodes = [
        helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["pooled", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "thresholds",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, channels, HEIGHT // 4, WIDTH // 4])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_threshold_model(folder: Path, channels: int = CHANNELS, **fields: object) -> Path:
    """Write card and network into `folder`; keyword arguments replace fields of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    write_threshold_network(folder / "model.onnx", channels)
    card = threshold_card()
    card["model"]["sha256"] = sha256_of(folder / "model.onnx")
    ModelCard.model_validate({**card, **fields}).dump(folder / "card.yaml")
    return folder


def two_lane_road(height: int = 144, width: int = 256) -> np.ndarray:
    """(H, W, 3) uint8 BGR: a red line on the left, a green one on the right, both leaning inwards."""
    image = np.full((144, 256, 3), 40, dtype=np.uint8)
    for y in range(40, 144):
        left, right = 70 - (y - 40) // 3, 180 + (y - 40) // 3
        image[y, left - 8 : left + 8] = (0, 0, 255)
        image[y, right - 8 : right + 8] = (0, 255, 0)
    rows = np.arange(height) * 144 // height
    columns = np.arange(width) * 256 // width
    return np.ascontiguousarray(image[rows][:, columns])
