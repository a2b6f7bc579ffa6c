"""Lanes in single pictures: ``python examples/stills.py [PICTURE ...]``; without pictures, in two rendered ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rtseg
from rtseg.lab.render import render_road
from rtseg.media import draw_lanes
from rtseg.media.images import read_image, write_image


def find_lanes(pictures: dict[str, NDArray[np.uint8]], out: Path) -> dict[str, rtseg.Lanes]:
    """Find the lanes of each picture alone, and write what was found over it."""
    pipeline = rtseg.load("lanes-lite")
    found = {}
    for name, picture in pictures.items():
        lanes = pipeline(picture)  # a bare array is a still: what came before does not count
        assert isinstance(lanes, rtseg.Lanes)
        found[name] = lanes
        write_image(out / f"{name}.png", draw_lanes(picture, lanes))
    return found


def main(paths: list[str], out: Path = Path("out/stills")) -> dict[str, rtseg.Lanes]:
    """Take the pictures that are named, or render some."""
    pictures = {Path(path).stem: read_image(path) for path in paths}
    found = find_lanes(pictures or {f"road-{seed}": render_road(seed, (720, 1280)).image for seed in (1, 4)}, out)
    for name, lanes in found.items():
        rows = np.linspace(0.6, 0.9, 4) * lanes.mask.shape[0]
        for identity, confidence, x in zip(lanes.ids, lanes.confidence, lanes.sample(rows), strict=True):
            print(f"{name}: line {identity}, sure to {confidence:.2f}, x at rows {rows.round()}: {x.round(1)}")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
