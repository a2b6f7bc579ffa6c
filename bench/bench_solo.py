"""SOLO decoding and mask suppression on the CPU beside peers: `python -m pytest bench/bench_solo.py`.

The peer of the suppression is pycocotools, whose IoU of run lengths alone is timed; that of the decoding is NumPy with
a matrix product for all masks at once, which is how SOLOv2's authors write it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from rtseg.grouping.solo import SoloLevel, SoloSettings, solo_instances, solo_masks
from rtseg.ops.mask_nms import mask_overlaps, matrix_nms

SIZES = ((320, 640), (1024, 2048))
SETTINGS = SoloSettings(score_threshold=0.1, candidates=200)


def street_maps(size: tuple[int, int], objects: int = 80) -> tuple[list[SoloLevel], NDArray[np.float32]]:
    """Discs at random points of three levels, their outlines roughened by the mask features."""
    rng = np.random.default_rng(0)
    levels = []
    for stride, share in ((8, 0.6), (16, 0.3), (32, 0.1)):
        shape = size[0] // stride, size[1] // stride
        cate = rng.normal(-6, 1, shape).astype(np.float32)
        kernel = rng.normal(0, 0.2, (21, *shape)).astype(np.float32)
        kernel[:5] = np.array([2, 0, 0, -2, -2])[:, None, None]
        at = rng.choice(cate.size, round(objects * share), replace=False)
        cate.flat[at] = rng.uniform(0, 4, len(at))
        levels.append(SoloLevel(cate, kernel, stride))
    return levels, rng.normal(0, 1, (16, size[0] // 4, size[1] // 4)).astype(np.float32)


def decode_with_numpy(levels: list[SoloLevel], features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """All masks by one matrix product and one addition; scores by a masked mean."""
    height, width = features.shape[1:]
    y, x = (np.arange(n, dtype=np.float32) * 4 + 2 for n in (height, width))
    logits = []
    for level in levels:
        ys, xs = np.nonzero(level.cate > -2.2)
        k = level.kernel[:, ys, xs].T
        v = (y[None] - (ys[:, None] + 0.5) * level.stride) / (2 * level.stride)
        u = (x[None] - (xs[:, None] + 0.5) * level.stride) / (2 * level.stride)
        rows = k[:, 2, None] * v + k[:, 4, None] * v * v + k[:, :1]
        columns = k[:, 1, None] * u + k[:, 3, None] * u * u
        masks = (k[:, 5:] @ features.reshape(len(features), -1)).reshape(-1, height, width)
        logits.append(masks + rows[:, :, None] + columns[:, None])
    stacked = np.concatenate(logits)
    probability = 1 / (1 + np.exp(-stacked))
    masks = stacked > 0
    (probability * masks).sum((1, 2)) / np.maximum(masks.sum((1, 2)), 1)
    return masks


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("method", ["rtseg", "numpy-without-suppression"])
def test_decoding(benchmark: BenchmarkFixture, size: tuple[int, int], method: str) -> None:
    benchmark.group = f"decode {size[1]}x{size[0]}"
    levels, features = street_maps(size)

    def ours() -> object:
        return solo_instances(solo_masks(levels, features, SETTINGS), SETTINGS)

    work: Callable[[], object] = ours if method == "rtseg" else lambda: decode_with_numpy(levels, features)
    benchmark.pedantic(work, rounds=7, warmup_rounds=1)


@pytest.mark.parametrize("method", ["matrix-nms", "pycocotools-iou"])
def test_suppression(benchmark: BenchmarkFixture, method: str) -> None:
    benchmark.group = "suppress 80 masks of 160x80"
    found = solo_masks(*street_maps(SIZES[0]), SoloSettings(keep_threshold=0.0))
    masks, scores = found.masks, found.scores
    if method == "matrix-nms":
        benchmark.pedantic(lambda: matrix_nms(masks, scores), rounds=9, warmup_rounds=1)
        return
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")

    def peer() -> NDArray[np.float64]:
        runs = coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
        return np.asarray(coco.iou(runs, runs, [0] * len(runs)))

    shared = mask_overlaps(masks)
    areas = np.diag(shared)
    union = areas[:, None] + areas - shared
    np.testing.assert_allclose(peer(), shared / np.maximum(union, 1), atol=1e-9)
    benchmark.pedantic(peer, rounds=9, warmup_rounds=1)
