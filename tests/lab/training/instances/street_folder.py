"""A few small street pictures in the layout of cityscapes640, for tests of training and packaging."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

NAMES = ("car", "person", "cargroup")
SIDE = 128


def write_streets(folder: Path, count: int = 4, cities: Sequence[str] = ("zurich", "aachen")) -> Path:
    """Write `count` pictures of bright boxes on dark noise, of the cities in turn; aachen is held out."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "classes.json").write_text(json.dumps({"names": NAMES}))
    rng = np.random.default_rng(0)
    for i in range(count):
        image = rng.integers(20, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        lines = []
        for kind, x in ((0, 10), (0, 50), (1, 90)):
            y = int(rng.integers(20, 70))
            image[y : y + 40, x : x + 30] = rng.integers(150, 250, 3)
            box = [(x, y), (x + 30, y), (x + 30, y + 40), (x, y + 40)]
            lines.append(" ".join([str(kind), *(f"{v / SIDE:.4f}" for point in box for v in point)]))
        name = f"{cities[i % len(cities)]}_{i:06d}_000019"
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image)
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    return folder
