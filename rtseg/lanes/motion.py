"""How a picture of the road moves from one frame to the next, told by the lines that are in both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place

_STIFFNESS = 0.02  # of the prior that nothing moves, beside the weight of a whole line


@compiled_in_place
def slopes(x, rows, out):  # type: ignore[no-untyped-def]
    """Write the slopes of x (m,) at the rows (m,), two or more, to `out`: ``np.gradient(x, rows)`` to the last bit."""
    last = len(rows) - 1
    step = rows[1] - rows[0]
    even = True
    for i in range(1, last):
        even = even and rows[i + 1] - rows[i] == step
    out[0] = (x[1] - x[0]) / step
    out[last] = (x[last] - x[last - 1]) / (rows[last] - rows[last - 1])
    for i in range(1, last):
        if even:
            out[i] = (x[i + 1] - x[i - 1]) / (2 * step)
        else:
            up, down = rows[i] - rows[i - 1], rows[i + 1] - rows[i]
            a, b, c = -down / (up * (up + down)), (down - up) / (up * down), up / (down * (up + down))
            out[i] = a * x[i - 1] + b * x[i] + c * x[i + 1]


def road_motion(
    before: NDArray[np.float64], after: NDArray[np.float64], weight: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit the motion that turns, sideways drift and pitching of the camera give to all lines alike.

    To first order a turn moves every row by as much, a drift to the side moves near rows more than far ones, and
    pitching moves a line along the rows, which shifts its x by its slope.

    Args:
        before: (n, m) x of n lines at m rows, pixels.
        after: (n, m) the same in the next frame.
        weight: (n, m) how much each counts; 0 where it is not known.
        rows: (m,) y in pixels, increasing.

    Returns:
        (3,) coefficients for :func:`moved`; zeros without lines.
    """
    if not len(before):
        return np.zeros(3)
    terms = _terms(before, rows)
    weighted = terms * weight[..., None]
    normal = np.einsum("nmi,nmj->ij", weighted, terms)
    prior = _STIFFNESS * max(float(weight.sum()) / len(before), 1e-9) * np.diag([0.05, 0.05, 1.0])
    return np.asarray(np.linalg.solve(normal + prior, np.einsum("nmi,nm->i", weighted, after - before)))


def moved(x: NDArray[np.float64], rows: NDArray[np.float64], motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move lines, x (..., m) at rows (m,), by what :func:`road_motion` gave."""
    return np.asarray(x + _terms(x, rows) @ motion)


def _terms(x: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    slope = np.zeros_like(x)
    if len(rows) > 1:
        for one, out in zip(x.reshape(-1, len(rows)), slope.reshape(-1, len(rows)), strict=True):
            slopes(one, rows, out)
    return np.stack([np.ones_like(x), np.broadcast_to(rows / max(float(rows[-1]), 1.0), x.shape), slope], axis=-1)
