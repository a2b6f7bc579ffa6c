"""The procedural road and street: seeded pictures and drives with exact truth (NumPy, OpenCV and Numba only)."""

from __future__ import annotations

import numpy as np

from rtseg.errors import ConfigError
from rtseg.lab.render.drive import Drive
from rtseg.lab.render.scene import RenderedRoad, World, sample_camera
from rtseg.lab.render.street.street import RenderedStreet, StreetDrive, render_street
from rtseg.lab.render.style import RoadStyle, sample_style
from rtseg.lab.render.view import View

__all__ = [
    "Drive",
    "RenderedRoad",
    "RenderedStreet",
    "RoadStyle",
    "StreetDrive",
    "render_road",
    "render_street",
    "sample_style",
]

ATTEMPTS = 12


def render_road(seed: int, size: tuple[int, int] = (360, 640)) -> RenderedRoad:
    """Render the road that belongs to `seed`: on one machine the same seed and size give the same bytes.

    Args:
        seed: any non-negative integer.
        size: (height, width) in pixels, at least 32x32.

    Returns:
        The picture with up to 6 lane lines in sight and their truth; none on a street without marks.

    Raises:
        ConfigError: if the seed is negative or the size too small.
    """
    height, width = size
    if seed < 0:
        raise ConfigError(f"expected a seed of 0 or more, got {seed}")
    if height < 32 or width < 32:
        raise ConfigError(f"expected a size of at least 32x32 pixels, got {width}x{height}; render larger and resize")
    for attempt in range(ATTEMPTS):
        style = sample_style(np.random.default_rng([seed, attempt]))
        world = World(style, seed * ATTEMPTS + attempt)
        ego = world.start()
        road = world.render(ego, View(sample_camera(style, size)), world.parked_traffic(ego))
        if len(road.lanes) >= min(2, sum(line.kind != "none" for line in style.lines)):
            break
    # A picture is numbered afresh, so that its ids are 1..n from left to right.
    return _numbered(road)


def _numbered(road: RenderedRoad) -> RenderedRoad:
    order = np.zeros(256, np.uint8)
    order[list(road.ids)] = np.arange(1, len(road.ids) + 1)
    ids = tuple(range(1, len(road.ids) + 1))
    return RenderedRoad(road.image, road.lanes, order[road.mask], ids, road.camera, road.description, road.stamp)
