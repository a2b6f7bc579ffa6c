"""Networks with the layouts of those that people bring, small enough to reason about: what they see is the colors.

For objects a cell of 32 pixels that is red is a person and one that is green a car, its box the cell, and the mask what
has that color in it. For lanes red pixels are on one line, green ones on another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT, CELL = 256, 128, 32
OBJECTS = ("person", "car")
SURFACES = ("road", "person", "car")
Sides = list[int | str]


class Graph:
    """Nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        self._count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), f"c{self._count}"))
        return f"c{self._count}"

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        self._count += 1
        output = name or f"v{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind}{self._count}", **attributes))
        return output

    def linear(self, source: str, weight: Any, bias: Any, name: str = "") -> str:
        kernel = self.constant(np.asarray(weight, np.float32)[:, :, None, None])
        return self.add("Conv", source, kernel, self.constant(bias), name=name)

    def pool(self, source: str, down: int, across: int) -> str:
        return self.add("AveragePool", source, kernel_shape=[down, across], strides=[down, across])

    def slice(self, source: str, start: int, end: int) -> str:
        return self.add("Slice", source, *(self.constant([n], np.int64) for n in (start, end, 1)))

    def write(
        self,
        path: Path,
        outputs: dict[str, tuple[Sides, Any]],
        sides: Sides | None = None,
        metadata: dict[str, str] | None = None,
        kind: Any = TensorProto.FLOAT,
    ) -> Path:
        image = helper.make_tensor_value_info("images", kind, sides or [1, 3, HEIGHT, WIDTH])
        made = [helper.make_tensor_value_info(name, what, shape) for name, (shape, what) in outputs.items()]
        graph = helper.make_graph(self.nodes, "foreign", [image], made, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        for key, value in (metadata or {}).items():
            model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path


def paint_objects(objects: list[tuple[int, tuple[int, int, int, int]]], scale: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 BGR of (class, box) in pixels of the network's input, `scale` times as large."""
    image = np.full((HEIGHT * scale, WIDTH * scale, 3), 10, np.uint8)
    for kind, (x0, y0, x1, y1) in objects:
        image[y0 * scale : y1 * scale, x0 * scale : x1 * scale] = (0, 255, 0) if kind else (0, 0, 255)
    return image


def write_yolo(
    path: Path,
    layout: str = "classes",
    upright: bool = True,
    prototypes: int = 4,
    half: bool = False,
    batch: str | int = 1,
    names: bool = False,
    sigmoid: bool = True,
    open_sides: bool = False,
    silent: bool = False,
) -> Path:
    """A segmenting YOLO: boxes are cells, scores what of the cell is red or green, prototypes the colors themselves.

    A silent one is sure of nothing, whatever it is shown.
    """
    graph = Graph()
    source = "images"
    if half:
        source = graph.add("Cast", "images", to=TensorProto.FLOAT)
    rows, columns = HEIGHT // CELL, WIDTH // CELL
    cells = rows * columns
    pooled = graph.pool(source, CELL, CELL)
    scores = graph.linear(pooled, [[3, -3, 0], [-3, 3, 0]], [0, 0])
    least, most = (0.0, 0.0) if silent else (0.001, 0.95)
    scores = graph.add("Clip", scores, graph.constant(least), graph.constant(most)) if sigmoid else scores
    # The person's color lies on prototype 0, the car's on 1; a cell asks for what it is full of.
    weight = np.zeros((prototypes, 3))
    weight[0, :2], weight[1, :2] = (40, -40), (-40, 40)
    coefficients = graph.add("Relu", graph.linear(pooled, weight, np.zeros(prototypes)))
    y, x = np.divmod(np.arange(cells), columns)
    middles = np.stack([x * CELL + CELL / 2, y * CELL + CELL / 2])
    boxes = np.concatenate([middles, np.full((2, cells), CELL)])
    flat = graph.constant([1, -1, cells], np.int64)
    scores, coefficients = (graph.add("Reshape", value, flat) for value in (scores, coefficients))
    best = graph.add("ReduceMax", scores, axes=[1], keepdims=1)
    if layout == "classes":
        parts = [graph.constant(boxes[None]), scores, coefficients]
    elif layout == "objectness":
        sure = graph.add("Div", scores, graph.add("Max", best, graph.constant(1e-6)))
        parts = [graph.constant(boxes[None]), best, sure, coefficients]
    else:
        corners = np.concatenate([middles - CELL / 2, middles + CELL / 2])
        kind = graph.add("Cast", graph.add("ArgMax", scores, axis=1, keepdims=1), to=TensorProto.FLOAT)
        parts = [graph.constant(corners[None]), best, kind, coefficients]
    count = {"classes": 4 + len(OBJECTS), "objectness": 5 + len(OBJECTS), "selected": 6}[layout] + prototypes
    table = graph.add("Concat", *parts, axis=1)
    table = graph.add("Identity" if upright else "Transpose", table, **({} if upright else {"perm": [0, 2, 1]}))
    weight = np.zeros((prototypes, 3))
    weight[0, 0] = weight[1, 1] = 8.0
    maps = graph.linear(graph.pool(source, 4, 4), weight, [-4.0, -4.0, *[0.0] * (prototypes - 2)])
    dtype: Any = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    for value, name in ((table, "output0"), (maps, "output1")):
        graph.add("Cast", value, name=name, to=dtype)
    sides: Sides = [count, cells] if upright else [cells, count]
    metadata = {"names": str(dict(enumerate(OBJECTS))), "license": "a license"} if names else {}
    size: Sides = ["height", "width"] if open_sides else [HEIGHT, WIDTH]
    return graph.write(
        path,
        {
            "output0": ([batch, *sides], dtype),
            "output1": ([batch, prototypes, *(["h", "w"] if open_sides else [HEIGHT // 4, WIDTH // 4])], dtype),
        },
        [batch, 3, *size],
        metadata,
        dtype,
    )


def write_semantic(path: Path, output: str = "logits", stride: int = 4) -> Path:
    """Road, person (red) and car (green): ``logits``, ``softmax``, ``argmax`` (1, h, w) int64, or ``road`` alone."""
    graph = Graph()
    pooled = graph.pool("images", stride, stride) if stride > 1 else "images"
    height, width = HEIGHT // stride, WIDTH // stride
    if output == "road":
        graph.linear(pooled, [[-20, -20, 0]], [10], "seg")
        return graph.write(path, {"seg": ([1, 1, height, width], TensorProto.FLOAT)})
    logits = graph.linear(pooled, [[0, 0, 0], [20, -20, 0], [-20, 20, 0]], [5, 0, 0])
    if output == "argmax":
        graph.add("ArgMax", logits, axis=1, keepdims=0, name="seg")
        return graph.write(path, {"seg": ([1, height, width], TensorProto.INT64)})
    graph.add(
        "Softmax" if output == "softmax" else "Identity",
        logits,
        name="seg",
        **({"axis": 1} if output == "softmax" else {}),
    )
    return graph.write(path, {"seg": ([1, 3, height, width], TensorProto.FLOAT)})


def write_lane_map(path: Path, output: str = "lanes") -> Path:
    """Maps of lines: ``lanes`` (background, red, green), ``sigmoid`` (red, green), ``binary`` (any line) or ``ids``."""
    graph = Graph()
    pooled = graph.pool("images", 4, 4)
    sides: Sides = [HEIGHT // 4, WIDTH // 4]
    kind = TensorProto.FLOAT
    if output == "lanes":
        graph.linear(pooled, [[0, 0, 0], [20, -20, 0], [-20, 20, 0]], [5, 0, 0], "maps")
        sides = [1, 3, *sides]
    elif output == "sigmoid":
        graph.add("Sigmoid", graph.linear(pooled, [[20, -20, 0], [-20, 20, 0]], [-5, -5]), name="maps")
        sides = [1, 2, *sides]
    elif output == "binary":
        graph.linear(pooled, [[20, 20, 0]], [-5], "maps")
        sides = [1, 1, *sides]
    else:
        logits = graph.linear(pooled, [[0, 0, 0], [20, -20, 0], [-20, 20, 0]], [5, 0, 0])
        graph.add("ArgMax", logits, axis=1, keepdims=0, name="maps")
        sides, kind = [1, *sides], TensorProto.INT64
    return graph.write(path, {"maps": (sides, kind)})


def write_row_anchors(path: Path, version: int = 1) -> Path:
    """Two lines of four at 16 rows of 32 cells each: red is line 1, green line 2; columns (version 2) find nothing."""
    graph = Graph()
    rows, cells, lines = HEIGHT // 8, WIDTH // 8, 4
    pooled = graph.pool("images", 8, 8)
    weight = np.zeros((lines, 3))
    weight[1, :2], weight[2, :2] = (30, -30), (-30, 30)
    maps = graph.linear(pooled, weight, [-20.0, 0.0, 0.0, -20.0])  # (1, lines, rows, cells)
    if version == 1:
        located = graph.add("Transpose", maps, perm=[0, 3, 2, 1])
        absent = graph.constant(np.full((1, 1, rows, lines), 3.0))
        graph.add("Concat", located, absent, axis=1, name="out")
        return graph.write(path, {"out": ([1, cells + 1, rows, lines], TensorProto.FLOAT)})
    graph.add("Transpose", maps, perm=[0, 3, 2, 1], name="loc_row")
    found = graph.add("Transpose", graph.add("ReduceMax", maps, axes=[3], keepdims=1), perm=[0, 3, 2, 1])
    graph.add("Concat", graph.constant(np.full((1, 1, rows, lines), 3.0)), found, axis=1, name="exist_row")
    across = rows + 4
    nothing = graph.add("Mul", graph.add("ReduceMean", "images", keepdims=1), graph.constant(0.0))
    for name, sides in (("loc_col", (1, 24, across, lines)), ("exist_col", (1, 2, across, lines))):
        values = np.zeros(sides)
        values[:, 0] = 5.0
        graph.add("Add", graph.constant(values), nothing, name=name)
    kind = TensorProto.FLOAT
    return graph.write(
        path,
        {
            "loc_row": ([1, cells, rows, lines], kind),
            "loc_col": ([1, 24, across, lines], kind),
            "exist_row": ([1, 2, rows, lines], kind),
            "exist_col": ([1, 2, across, lines], kind),
        },
    )


def turn_ends(path: Path, of_bytes: bool = False, channels_last: bool = True, outputs: bool = False) -> Path:
    """The same network as other tools export it: bytes in, channels last, at its outputs as well."""
    model = onnx.load(path)
    graph, (image,) = model.graph, model.graph.input
    inner, nodes = image.name, []
    source = image.name = "pictures"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [source], ["turned"], perm=[0, 3, 1, 2]))
        source = "turned"
        sides = [side.dim_value for side in image.type.tensor_type.shape.dim]
        for side, value in zip(image.type.tensor_type.shape.dim, (sides[0], *sides[2:], sides[1]), strict=True):
            side.dim_value = value
    if of_bytes:
        image.type.tensor_type.elem_type = TensorProto.UINT8
        nodes.append(helper.make_node("Cast", [source], ["cast"], to=TensorProto.FLOAT))
        graph.initializer.append(numpy_helper.from_array(np.float32(255), "most"))
        nodes.append(helper.make_node("Div", ["cast", "most"], ["divided"]))
        source = "divided"
    nodes.append(helper.make_node("Identity", [source], [inner]))
    for node in reversed(nodes):
        graph.node.insert(0, node)
    for output in graph.output if outputs else ():
        dims = output.type.tensor_type.shape.dim
        if len(dims) != 4:
            continue
        given = [side.dim_value for side in dims]
        graph.node.append(helper.make_node("Transpose", [output.name], [f"{output.name}_last"], perm=[0, 2, 3, 1]))
        output.name += "_last"
        for side, value in zip(dims, (given[0], *given[2:], given[1]), strict=True):
            side.dim_value = value
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def paint_lines(scale: int = 1) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """A red and a green line that lean inwards; and (x at the top, x at the bottom, top row) of each, in its pixels."""
    height, width = HEIGHT * scale, WIDTH * scale
    image = np.full((height, width, 3), 10, np.uint8)
    top = height // 4
    lines = [(0.42 * width, 0.2 * width, top), (0.58 * width, 0.85 * width, top)]
    rows = np.arange(top, height)
    for number, (upper, lower, _) in enumerate(lines):
        middle = upper + (lower - upper) * (rows - top) / (height - 1 - top)
        for y, x in zip(rows, middle, strict=True):
            image[y, int(x) - 4 * scale : int(x) + 4 * scale] = (0, 255, 0) if number else (0, 0, 255)
    return image, [(upper, lower, float(row)) for upper, lower, row in lines]
