"""Lane lines as an occupancy grid: occupied cells are where the lines are on the ground, without gaps."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.messages import Grid, lane_grid

CURVES = [(1.75, 0.01, 0.002), (-1.75, 0.01, 0.002), (9.0, 0.2, 0.0)]


def centers(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """x and y of occupied cells."""
    rows, columns = np.nonzero(grid.cells == 100)
    return (grid.origin[0] + (columns + 0.5) * grid.resolution, grid.origin[1] + (rows + 0.5) * grid.resolution)


@pytest.mark.parametrize("count", [3, 12, 400])
def test_occupied_cells_are_where_the_lines_are(count: int) -> None:
    x = np.geomspace(4, 80, count)
    curves = CURVES if count > 100 else [(c, t, 0.0) for c, t, _ in CURVES]  # few points tell straight lines alone
    lines = [np.stack([x, c + t * x + k * x * x / 2, np.zeros_like(x)], axis=1) for c, t, k in curves]
    grid = lane_grid([np.empty((0, 3)), *lines, lines[0][:1]])
    assert grid.cells.shape == (200, 300)
    assert set(np.unique(grid.cells)) == {-1, 100}, "nothing is told to be free"
    ahead, aside = centers(grid)
    off = np.min([np.abs(aside - (c + t * ahead + k * ahead**2 / 2)) for c, t, k in curves], axis=0)
    assert off.max() < 1.5 * grid.resolution
    for sign in (1, -1):
        mine = sign * aside > 0
        assert len(np.unique(np.rint(ahead[mine] / grid.resolution - 0.5))) == 260, "from 4 to 30 m without a gap"


def test_without_lines_nothing_is_known() -> None:
    assert (lane_grid([]).cells == -1).all()
