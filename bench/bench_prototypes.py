"""A YOLO table painted into one label image, beside the usual way: `python -m pytest bench/bench_prototypes.py`.

The usual way is that of the networks' authors, in NumPy and OpenCV: all masks by one matrix product, each resized to
the frame and cut to its box, the surer ones painted last. Both are given the same boxes, which is what suppression
leaves, and 32 prototypes of 160x160; frames are 1280x720 in a letterbox of 640x640. OpenCV may use all cores, ours is
one thread.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from rtseg.grouping.prototypes import Detections, PrototypeMasks, suppressed
from rtseg.instances.methods.yolo_seg import METHOD
from rtseg.runtime.card import ModelCard

FRAME, NETWORK, STRIDE, CLASSES = (720, 1280), 640, 4, 80
WINDOW = (136, 0, 360, 640)  # of the network's input that shows the frame: top, left, height, width


def street(count: int) -> tuple[Detections, NDArray[np.float32]]:
    """Objects of 20 to 200 pixels at random places, each an ellipse: prototypes 0 to 5 are 1, x, y, xx, xy and yy."""
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(20), np.log(200), (count, 2)))
    middles = np.stack([rng.uniform(0, NETWORK, count), rng.uniform(WINDOW[0], WINDOW[0] + WINDOW[2], count)], axis=1)
    boxes = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1).astype(np.float32)
    boxes[:, 1::2] = boxes[:, 1::2].clip(WINDOW[0], WINDOW[0] + WINDOW[2])
    boxes[:, ::2] = boxes[:, ::2].clip(0, NETWORK)
    y, x = (np.indices((NETWORK // STRIDE, NETWORK // STRIDE)).astype(np.float32) + 0.5) * STRIDE / NETWORK
    noise = rng.normal(0, 0.05, (26, *x.shape)).astype(np.float32)
    prototypes = np.concatenate([np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]), noise])
    coefficients = np.zeros((count, 32), np.float32)
    (cx, cy), (a, b) = middles.T / NETWORK, sides.T / NETWORK / 2
    coefficients[:, 0] = 1 - (cx / a) ** 2 - (cy / b) ** 2
    coefficients[:, 1], coefficients[:, 2] = 2 * cx / a**2, 2 * cy / b**2
    coefficients[:, 3], coefficients[:, 5] = -1 / a**2, -1 / b**2
    coefficients[:, 6:] = rng.normal(0, 0.3, (count, 26))
    scores = np.sort(rng.uniform(0.3, 0.95, count))[::-1].astype(np.float32)
    return Detections(boxes, rng.integers(0, CLASSES, count).astype(np.int32), scores, coefficients), prototypes


def usual_way(found: Detections, prototypes: NDArray[np.float32]) -> NDArray[np.int32]:
    """A mask of the frame's size for each object."""
    masks = (found.coefficients @ prototypes.reshape(32, -1)).reshape(-1, *prototypes.shape[1:])
    top, left, height, width = (side // STRIDE for side in WINDOW)
    scale = FRAME[0] / WINDOW[2]
    labels = np.zeros(FRAME, np.int32)
    for i in reversed(range(len(found))):
        mask = cv2.resize(
            masks[i, top : top + height, left : left + width], FRAME[::-1], interpolation=cv2.INTER_LINEAR
        )
        x0, y0, x1, y1 = np.ceil((found.boxes[i] - [WINDOW[1], WINDOW[0]] * 2) * scale - 0.5).astype(int).clip(0)
        inside = np.zeros(FRAME, bool)
        inside[y0:y1, x0:x1] = True
        labels[(mask > 0) & inside] = i + 1
    return labels


def ours(found: Detections, prototypes: NDArray[np.float32]) -> NDArray[np.int32]:
    return PrototypeMasks(found, prototypes, STRIDE).paint(FRAME, WINDOW)


@pytest.mark.parametrize("count", [10, 50, 200])
@pytest.mark.parametrize("method", ["rtseg", "each-mask-resized"])
def test_masks(benchmark: BenchmarkFixture, count: int, method: str) -> None:
    benchmark.group = f"{count} objects, 640x640 to 1280x720"
    found, prototypes = street(count)
    work = ours if method == "rtseg" else usual_way
    labels = benchmark.pedantic(work, (found, prototypes), rounds=15, warmup_rounds=2)
    expected = usual_way(found, prototypes)
    # Of what others hide, a sliver of a few pixels may be left or not by how a float is rounded.
    areas = np.bincount(expected.reshape(-1), minlength=count + 1)
    ids = 1 + np.flatnonzero(areas[1:] >= (1 if count <= 50 else 100))
    assert count > 50 or np.array_equal(np.unique(labels)[1:], ids)
    worst = min(((labels == i) & (expected == i)).sum() / ((labels == i) | (expected == i)).sum() for i in ids)
    benchmark.extra_info.update(objects=len(ids), worst_iou=float(worst))
    assert worst > (0.99 if count <= 50 else 0.9)


@pytest.mark.parametrize("layout", ["classes", "objectness"])
def test_table(benchmark: BenchmarkFixture, layout: str) -> None:
    """A whole table of 8400 or 25200 rows to labels, most of them no object."""
    benchmark.group = "table to labels"
    found, prototypes = street(50)
    rows = 8400 if layout == "classes" else 25200
    rng = np.random.default_rng(1)
    before = 4 if layout == "classes" else 5
    table = np.zeros((rows, before + CLASSES + 32), np.float32)
    table[:, 4:] = rng.uniform(0, 0.1, table[:, 4:].shape)
    chosen = rng.choice(rows, (50, 4), replace=False)
    for places in chosen.T:  # each object is found by several cells
        table[places, :2] = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 + rng.normal(0, 0.5, (50, 2))
        table[places, 2:4] = found.boxes[:, 2:] - found.boxes[:, :2]
        table[places, 4] = 1.0
        table[places, before + found.class_ids] = found.scores * rng.uniform(0.9, 1, 50)
        table[places, before + CLASSES :] = found.coefficients
    values = np.ascontiguousarray(table.T)[None] if layout == "classes" else table[None]
    card = ModelCard(
        name="street", family="yolo_seg", task="instances", summary="", licence="",
        model={"file": "model.onnx", "sha256": "0" * 64, "precision": "fp32"},
        input={"width": 640, "height": 640, "order": "rgb", "mean": (0, 0, 0), "std": (1, 1, 1), "fit": "letterbox"},
        outputs=[
            {"name": "table", "kind": "detections", "shape": values.shape},
            {"name": "prototypes", "kind": "prototypes", "channels": 32, "stride": STRIDE},
        ],
        grouping={"method": "yolo_seg", "parameters": {"layout": layout, "min_area": 16}},
        classes=[f"kind {i}" for i in range(CLASSES)],
        training={"command": "", "data": (), "seed": 0},
    )  # fmt: skip
    group = METHOD.grouping(card, card.parameters_as(METHOD.parameters))
    maps = {"table": values, "prototypes": prototypes[None]}
    labels = benchmark.pedantic(lambda: group(maps, FRAME).labels_at(FRAME), rounds=15, warmup_rounds=2)
    assert labels.max() > 40
    assert len(suppressed(found, 0.7, 300)) == 50
