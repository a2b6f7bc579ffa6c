"""The pictures of docs/grouping.md (``rtseg lab grouping-figures docs/figures``)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.grouping import affinity_union, gaec
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, NOISE_LEVELS, label_affinities, street_scene
from rtseg.lab.studies.inspect import paint_labels, render_affinity
from rtseg.ops import union_affinities

_SIZE = (120, 240)
_SEED = 3


def write_figures(folder: Path) -> None:
    """Write grouping_methods.png and grouping_inspect.png into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    affinity = label_affinities(street_scene(_SEED, _SIZE).labels, seed=_SEED)
    for name, picture in (
        ("grouping_methods.png", methods_picture()),
        ("grouping_inspect.png", render_affinity(affinity, np.array(GRID_OFFSETS))),
    ):
        few = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
        (folder / name).write_bytes(few.tobytes())


def methods_picture() -> NDArray[np.uint8]:
    """Draw what union-find alone, affinity_union and exact GAEC make of one scene at three noise levels."""
    scene = street_scene(_SEED, _SIZE)
    rows = []
    for name, corruption in NOISE_LEVELS.items():
        affinity = label_affinities(scene.labels, corruption=corruption, seed=_SEED)
        weakest = cv2.applyColorMap((affinity.min(axis=0) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
        panels = [
            (f"{name} noise: affinities", weakest),
            ("union-find 0.5", paint_labels(union_affinities(affinity, GRID_OFFSETS, 0.5))),
            ("affinity_union 0.98", paint_labels(affinity_union(affinity, GRID_OFFSETS))),
            ("gaec mean", paint_labels(gaec(affinity, GRID_OFFSETS))),
            ("truth", paint_labels(scene.labels)),
        ]
        rows.append(np.hstack([_captioned(panel, caption) for caption, panel in panels]))
    return np.asarray(np.vstack(rows), dtype=np.uint8)


def _captioned(panel: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    tile = cv2.copyMakeBorder(panel, 18, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(tile, caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(tile, dtype=np.uint8)
