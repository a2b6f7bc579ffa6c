"""Connected components of 1024x2048 label images, beside cc3d and scikit-image: ``pytest bench/bench_components.py``.

The table's first column in brackets is the ratio to the fastest of the group. `--benchmark-json` keeps the figures.
"""

from __future__ import annotations

from collections.abc import Callable

import cc3d
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from skimage.measure import label as skimage_label

from rtseg.ops import label_components

SHAPE = (1024, 2048)


def lanes() -> NDArray[np.uint8]:
    """Six lane lines: 98 % background."""
    image = np.zeros(SHAPE, np.uint8)
    for color, bottom in enumerate((-700, 100, 700, 1350, 2000, 2700), start=1):
        cv2.line(image, (1024, 420), (bottom, 1023), color, 14)
    return image


def street() -> NDArray[np.uint8]:
    """Instances in front of stuff: a few hundred regions with ragged borders, everything foreground but the sky."""
    rng = np.random.default_rng(0)
    height, width = SHAPE
    image = np.zeros(SHAPE, np.uint8)
    image[400:] = 1
    for _ in range(250):
        x, y, size = rng.integers(0, width), rng.integers(350, height), rng.integers(8, 120)
        angle = np.sort(rng.uniform(0, 2 * np.pi, 24))
        radius = size * rng.uniform(0.7, 1.0, 24)
        outline = np.stack([x + radius * np.cos(angle), y + 0.7 * radius * np.sin(angle)], axis=1)
        cv2.fillPoly(image, [outline.astype(np.int32)], int(rng.integers(2, 12)))
    return image


def noisy() -> NDArray[np.uint8]:
    """The street as an untrained network sees it: 13,000 components, a run every dozen pixels."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 12, (64, 128)).astype(np.uint8), SHAPE[::-1], interpolation=cv2.INTER_NEAREST)
    field = cv2.resize(rng.normal(size=(128, 256)).astype(np.float32), SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(field > 0, coarse, (field < -0.6) * 3).astype(np.uint8)


def stripes(across: int, every: int) -> NDArray[np.uint8]:
    """Lines a pixel wide: diagonals (`across` 1), which hang together over corners only, or columns (0)."""
    rows, columns = np.indices(SHAPE)
    return ((columns + across * rows) % every == 0).astype(np.uint8)


SCENES: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "lanes": lanes,
    "street": street,
    "noisy": noisy,
    "diagonals": lambda: stripes(1, 4),
    "sparse diagonals": lambda: stripes(1, 8),
    "columns": lambda: stripes(0, 3),
    "checkerboard": lambda: stripes(1, 2),
}
LABELLERS: dict[str, Callable[[NDArray[np.integer]], object]] = {
    "rtseg": label_components,
    "rtseg, 2 threads": lambda image: label_components(image, threads=2),
    "cc3d": lambda image: cc3d.connected_components(image, connectivity=8, return_N=True),
    "scikit-image": lambda image: skimage_label(image, background=0, connectivity=2, return_num=True),
}


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("labeller", LABELLERS)
def test_components(benchmark: BenchmarkFixture, labeller: str, scene: str, dtype: str) -> None:
    image = SCENES[scene]().astype(dtype)
    expected, count = cc3d.connected_components(image, connectivity=8, return_N=True)
    components, found = label_components(image)
    assert found == count
    np.testing.assert_array_equal(components, expected)
    benchmark.group = f"{scene} {dtype}, {count} components"
    benchmark.pedantic(LABELLERS[labeller], (image,), rounds=40, warmup_rounds=2)
