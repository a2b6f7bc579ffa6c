"""Instance networks small enough to reason about: their outputs are functions of the image's colors.

Objects are painted with `paint`: red for class 0 ("person"), green for class 1 ("car"), and in blue a level 0, 1 or 2
that tells neighboring objects apart, as a trained network's colors or affinities would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rtseg.grouping import GMIS_OFFSETS
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.runtime.card import ModelCard, sha256_of

WIDTH, HEIGHT = 128, 64
CLASSES = ("person", "car")
FAMILIES = {"coloring": "l2c", "graph_merge": "gmis", "affinity_union": "gmis", "cascade_gaec": "daffnet"}
STRIDES = {"l2c": (4,), "gmis": (4,), "daffnet": (4, 8, 16, 32)}
Box = tuple[int, int, int, int]
_LABEL_IDS = {0: 24, 1: 26}  # Cityscapes' of person and car
_ROAD = 7


def paint(
    objects: list[tuple[int, int, Box]], size: tuple[int, int] = (HEIGHT, WIDTH)
) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 BGR and truth (H, W) int32 of (class, level, box) objects, later ones in front."""
    image, truth = np.full((*size, 3), 10, dtype=np.uint8), np.zeros(size, np.int32)
    for number, (kind, level, (x0, y0, x1, y1)) in enumerate(objects, start=1):
        x0, y0, x1, y1 = (max(0, side) for side in (x0, y0, x1, y1))
        image[y0:y1, x0:x1] = (level * 255 // 2, 255 * (kind == 1), 255 * (kind == 0))
        truth[y0:y1, x0:x1] = number
    return image, truth


def write_gtfine_frame(root: Path, city: str, number: int, objects: list[tuple[int, int, Box]], extra: int = 0) -> None:
    """A picture and its instanceIds in Cityscapes' layout.

    `extra` paints objects on the picture that the labels do not have.
    """
    name = f"{city}_{number:06d}_000019"
    image, truth = paint(objects)
    ids = np.array([_ROAD, *(_LABEL_IDS[kind] * 1000 + i for i, (kind, _, _) in enumerate(objects))], np.uint16)
    for i in range(extra):
        image[56:64, 16 * i : 16 * i + 12] = (128, 255, 0)  # unlike the others
    for folder, ending, picture in (
        ("leftImg8bit", "leftImg8bit", image),
        ("gtFine", "gtFine_instanceIds", ids[truth]),
    ):
        (root / folder / "val" / city).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / folder / "val" / city / f"{name}_{ending}.png"), picture)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: list[tuple[str, int, int]] = []  # name, channels, stride
        self._count = 0

    def constant(self, value: np.ndarray) -> str:
        self._count += 1
        self.constants.append(numpy_helper.from_array(value, f"constant{self._count}"))
        return f"constant{self._count}"

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        self._count += 1
        output = name or f"value{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def linear(self, source: str, weight: list[list[float]], bias: list[float], name: str = "") -> str:
        kernel = self.constant(np.asarray(weight, np.float32)[:, :, None, None])
        return self.add("Conv", source, kernel, self.constant(np.asarray(bias, np.float32)), name=name)


def _semantic(graph: _Graph, pooled: str, name: str) -> None:
    graph.linear(pooled, [[0, 0, 0], [20, -20, 0], [-20, 20, 0]], [10, 0, 0], name)


def _affinity(graph: _Graph, pooled: str, offsets: Any, size: np.ndarray, name: str) -> None:
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    padding = np.array([0, 0, reach, reach, 0, 0, reach, reach], np.int64)
    padded = graph.add("Pad", pooled, graph.constant(padding), mode="edge")
    axes, one = graph.constant(np.array([2, 3], np.int64)), graph.constant(np.float32(1))
    channels = []
    for dy, dx in offsets:
        start = np.array([reach + dy, reach + dx], np.int64)
        shifted = graph.add("Slice", padded, graph.constant(start), graph.constant(start + size), axes)
        apart = graph.add("Abs", graph.add("Sub", pooled, shifted))
        channels.append(graph.add("ReduceSum", apart, graph.constant(np.array([1], np.int64)), keepdims=1))
    unlike = graph.add("Mul", graph.add("Concat", *channels, axis=1), graph.constant(np.float32(3)))
    kept = graph.add("Clip", unlike, graph.constant(np.float32(0)), one)
    graph.add("Sub", one, kept, name=name)


def _family(graph: _Graph, family: str, width: int, height: int, shared_centers: bool) -> None:
    for stride in STRIDES[family]:
        size = np.array([height // stride, width // stride], np.int64)
        pooled = graph.add("AveragePool", "image", kernel_shape=[stride, stride], strides=[stride, stride])
        ending = f"_s{stride}" if family == "daffnet" else ""
        _semantic(graph, pooled, f"semantic{ending}")
        graph.outputs.append((f"semantic{ending}", 1 + len(CLASSES), stride))
        if family == "l2c":
            levels: list[list[float]] = [[20, 20, 20 * level] for level in range(3)]
            weight = [[0.0, 0.0, 0.0], *levels, *[[0.0, 0.0, 0.0]] * 5]
            graph.linear(pooled, weight, [10, *(-20 * (level / 2) ** 2 for level in range(3)), *[-50] * 5], "colors")
            graph.outputs.append(("colors", 9, stride))
            y, x = np.indices(tuple(size)).astype(np.float32) * stride + (stride - 1) / 2
            if shared_centers:  # every pixel of a level points to one place, levels half the width apart
                target = graph.linear(pooled, [[0, 0, width], [0, 0, 0]], [0, height / 2])
                graph.add("Sub", target, graph.constant(np.stack([x, y])[None]), name="centers")
            else:
                graph.linear(pooled, [[0, 0, 0], [0, 0, 0]], [0, 0], "centers")
            graph.outputs.append(("centers", 2, stride))
        else:
            offsets = GMIS_OFFSETS if family == "gmis" else FOUR_NEIGHBORS
            _affinity(graph, pooled, offsets, size, f"affinity{ending}")
            graph.outputs.append((f"affinity{ending}", len(offsets), stride))
        if family == "daffnet":
            graph.linear(pooled, (4 * np.eye(3)).tolist(), [0, 0, 0], f"embedding{ending}")
            graph.outputs.append((f"embedding{ending}", 3, stride))


def write_instance_model(
    folder: Path,
    method: str = "coloring",
    width: int = WIDTH,
    height: int = HEIGHT,
    shared_centers: bool = False,
    parameters: dict[str, Any] | None = None,
    **fields: Any,
) -> Path:
    """Write card and network of the method's family into `folder`; keyword arguments replace fields of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = _Graph()
    family = FAMILIES[method]
    parameters = dict(parameters or {})
    if family == "l2c" and not shared_centers:  # every pixel points to itself: only what is concentric would merge
        parameters.setdefault("merge_distance", 2.0)
    _family(graph, family, width, height, shared_centers)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, height // stride, width // stride])
        for name, channels, stride in graph.outputs
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])
    onnx_graph = helper.make_graph(graph.nodes, "instances", [image], outputs, graph.constants)
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    card = {
        "name": "blocks",
        "family": family,
        "task": "instances",
        "summary": "Blocks of color.",
        "licence": "Apache-2.0",
        "model": {"file": "model.onnx", "sha256": sha256_of(folder / "model.onnx"), "precision": "fp32"},
        "input": {"width": width, "height": height, "order": "rgb", "mean": [0, 0, 0], "std": [255, 255, 255]},
        "outputs": [{"name": name, "channels": channels, "stride": stride} for name, channels, stride in graph.outputs],
        "grouping": {"method": method, "parameters": parameters},
        "classes": CLASSES,
        "training": {"command": "none", "data": [], "seed": 0},
    }
    ModelCard.model_validate({**card, **fields}).dump(folder / "card.yaml")
    return folder
