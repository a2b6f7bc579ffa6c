"""Seeded street-like scenes with affinities: what the grouping methods are tested, measured and drawn on.

A scene has the statistics that make grouping hard on the road: a few very large regions (sky, road, facades), objects
from a handful of pixels to a third of the frame that overlap one another, and thin things. Affinities are what a
trained network would give: confident inside, low along boundaries, with noise in the logits that is partly correlated
between neighbors, boundaries that are blurred, and stretches of boundary that are missed altogether.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

GRID_OFFSETS = ((0, 1), (1, 0))
"""Right and lower neighbor: every edge of the 4-neighbor grid once."""


@dataclass(frozen=True)
class Corruption:
    """What stands between the true affinities and those a network gives.

    Attributes:
        noise: standard deviation of independent noise on the logits.
        smooth_noise: standard deviation of noise correlated over about 4 pixels.
        blur: standard deviation in pixels of the blur over the clean logits.
        dropped: share of the boundary that is missed, in stretches of about 10 pixels; a network is then not sure of
            the opposite, but undecided: the logit lies halfway.
    """

    noise: float = 0.0
    smooth_noise: float = 0.0
    blur: float = 0.0
    dropped: float = 0.0


NOISE_LEVELS = {
    "low": Corruption(noise=0.5, smooth_noise=0.3, blur=0.3, dropped=0.005),
    "medium": Corruption(noise=0.9, smooth_noise=0.5, blur=0.35, dropped=0.01),
    "high": Corruption(noise=1.5, smooth_noise=0.8, blur=0.4, dropped=0.02),
}


@dataclass(frozen=True)
class StreetScene:
    """One rendered truth.

    Attributes:
        labels: (H, W) int32 region of each pixel, 1..n; every pixel belongs to one.
        classes: (n,) int32 class of each region: 0 for what is no object (sky, road, facades), 1 vehicle, 2 person.
    """

    labels: NDArray[np.int32]
    classes: NDArray[np.int32]

    @property
    def objects(self) -> NDArray[np.int32]:
        """(H, W) int32 labels of objects only, consecutive in the order of the regions; 0 elsewhere."""
        ids = np.where(self.classes > 0, np.cumsum(self.classes > 0), 0).astype(np.int32)
        return ids[self.labels - 1]


def street_scene(seed: int, size: tuple[int, int] = (256, 512)) -> StreetScene:
    """Render the region labels of one seeded street of `size` (H, W) pixels."""
    rng = np.random.default_rng(seed)
    height, width = size
    horizon = int(height * rng.uniform(0.35, 0.5))
    canvas = np.ones((height, width), dtype=np.int32)
    classes = [0]

    def start(kind: int) -> int:
        classes.append(kind)
        return len(classes)

    x = 0
    while x < width:  # facades
        step = int(width * rng.uniform(0.06, 0.22)) + 1
        top = int(horizon * rng.uniform(0.1, 0.8))
        canvas[top:horizon, x : x + step] = start(0)
        x += step
    canvas[horizon:] = start(0)  # pavement, then the road over it
    vanish = width * rng.uniform(0.4, 0.6)
    road = np.array([[vanish - 2, horizon], [vanish + 2, horizon], [width * 1.1, height], [-width * 0.1, height]])
    cv2.fillPoly(canvas, [road.astype(np.int32)], start(0))

    count = int(rng.integers(14, 30))
    for depth in np.sort(rng.uniform(0.02, 1.0, count) ** 1.5):  # far ones first
        foot = horizon + depth * (height - horizon) * 0.9
        vehicle = rng.random() < 0.6
        tall = max(3.0, depth * height * (0.42 if vehicle else 0.5) * rng.uniform(0.8, 1.2))
        wide = max(2.0, tall * (rng.uniform(1.2, 2.2) if vehicle else rng.uniform(0.3, 0.45)))
        center = rng.uniform(0, width)
        ident = start(1 if vehicle else 2)
        if vehicle:
            body = [(-0.5, 0.0), (-0.5, -0.55), (-0.32, -0.62), (-0.22, -1.0), (0.25, -1.0), (0.36, -0.62), (0.5, -0.5)]
            outline = np.array([*body, (0.5, 0.0)]) * (wide, tall) + (center, foot)
            cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], ident)
        else:
            middle, radius = (int(center), int(foot - tall * 0.45)), max(1, int(wide * 0.3))
            cv2.ellipse(canvas, middle, (max(1, int(wide / 2)), max(1, int(tall * 0.42))), 0, 0, 360, ident, -1)
            cv2.circle(canvas, (int(center), int(foot - tall * 0.92)), radius, ident, -1)
    for _ in range(int(rng.integers(2, 6))):  # poles cut objects apart
        at, thick = int(rng.uniform(0, width)), max(1, int(width * rng.uniform(0.002, 0.008)))
        canvas[int(height * rng.uniform(0, 0.3)) : int(height * rng.uniform(0.6, 0.8)), at : at + thick] = start(0)

    present, labels = np.unique(canvas, return_inverse=True)
    kinds = np.asarray(classes, dtype=np.int32)[present - 1]
    return StreetScene(labels.reshape(size).astype(np.int32) + 1, kinds)


def pairs_in(
    size: tuple[int, int], offsets: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
    """Give where a map of `size` (height, width) has both pixels of a pair.

    Yields:
        (k, the first pixels, the second pixels) of every offset k = (dy, dx) of which any pair lies within the map.
    """
    height, width = size
    for k, (dy, dx) in enumerate(offsets):
        rows, columns = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
        if rows.start < rows.stop and columns.start < columns.stop:
            there = slice(rows.start + dy, rows.stop + dy), slice(columns.start + dx, columns.stop + dx)
            yield k, (rows, columns), there


def label_affinities(
    labels: NDArray[np.int32],
    offsets: tuple[tuple[int, int], ...] = GRID_OFFSETS,
    corruption: Corruption = NOISE_LEVELS["medium"],
    seed: int = 0,
    inside: float = 5.0,
    across: float = -3.0,
) -> NDArray[np.float32]:
    """Make the affinities a network might give for true labels.

    Args:
        labels: (H, W) int32 true regions.
        offsets: K pairs (dy, dx).
        corruption: how the clean logits are spoilt.
        seed: of the corruption.
        inside: clean logit of a pair of one region.
        across: clean logit of a pair of two regions.

    Returns:
        (K, H, W) float32 in [0, 1]; pairs that leave the image have 0.
    """
    rng = np.random.default_rng(seed)
    height, width = labels.shape
    affinity = np.zeros((len(offsets), height, width), dtype=np.float32)
    missed = np.zeros((height, width), dtype=np.bool_)
    if corruption.dropped > 0:
        field = _smooth_noise(rng, (height, width), 5.0)
        missed = field > np.quantile(field[::4, ::4], 1.0 - corruption.dropped)
    shared = _smooth_noise(rng, (height, width), 2.0) * np.float32(corruption.smooth_noise)
    for k, here, there in pairs_in((height, width), offsets):
        clean = np.where(missed[here], np.float32(0.5 * (inside + across)), np.float32(across))
        logits = np.full((height, width), np.float32(inside))
        logits[here] = np.where(labels[here] == labels[there], np.float32(inside), clean)
        if corruption.blur > 0:
            logits = cv2.GaussianBlur(logits, (0, 0), corruption.blur)
        logits += shared
        logits += rng.standard_normal(logits.shape, dtype=np.float32) * np.float32(corruption.noise)
        affinity[k][here] = 1.0 / (1.0 + np.exp(-logits[here]))
    return affinity


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    field = cv2.GaussianBlur(rng.standard_normal(size, dtype=np.float32), (0, 0), sigma)
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)


def write_scene(path: Path, seed: int, size: tuple[int, int], noise: str) -> None:
    """Write the affinities of a scene and their offsets as an .npz file that ``rtseg inspect affinity`` draws.

    Args:
        path: the file; its folder is there.
        seed: of the scene and of its noise.
        size: (height, width).
        noise: a name of :data:`NOISE_LEVELS`.
    """
    affinity = label_affinities(street_scene(seed, size).labels, corruption=NOISE_LEVELS[noise], seed=seed)
    np.savez_compressed(path, affinity=affinity, offsets=np.array(GRID_OFFSETS))
