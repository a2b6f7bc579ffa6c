"""The box around a mask."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.lab.data.mask_box import mask_box


@pytest.mark.parametrize("seed", range(20))
def test_nothing_lies_outside_and_something_on_each_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 30, 2)) < rng.uniform(0.01, 0.2)
    if not mask.any():
        assert mask_box(mask) == (0, 0, 0, 0)
        return
    x0, y0, x1, y1 = mask_box(mask)
    part = mask[y0:y1, x0:x1]
    assert part.sum() == mask.sum()
    assert part[0].any()
    assert part[-1].any()
    assert part[:, 0].any()
    assert part[:, -1].any()


def test_of_a_lone_pixel_and_of_none() -> None:
    mask = np.zeros((5, 7), bool)
    assert mask_box(mask) == (0, 0, 0, 0)
    mask[0, 0] = True
    assert mask_box(mask) == (0, 0, 1, 1)
    assert mask_box(np.zeros((0, 7), bool)) == (0, 0, 0, 0)
