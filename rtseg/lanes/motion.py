"""How a picture of the road moves from one frame to the next, told by the lines that are in both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place

_STIFFNESS = 0.02  # of the prior that nothing moves, beside the weight of a whole line
_PRIOR = np.array([0.05, 0.05, 1.0])


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


@compiled_in_place
def _fit(before, after, weight, rows, prior, slope, terms, normal, motion):  # type: ignore[no-untyped-def]
    """Write the weighted least squares of what moved, a 3 by 3 system with a prior on its diagonal, to `motion`."""
    for i in range(3):
        motion[i] = 0.0
        for j in range(3):
            normal[i, j] = prior[i] if i == j else 0.0
    for n in range(len(before)):
        slopes(before[n], rows, slope)
        for r in range(len(rows)):
            terms[0], terms[1], terms[2] = 1.0, rows[r] / rows[-1], slope[r]
            for i in range(3):
                weighted = weight[n, r] * terms[i]
                motion[i] += weighted * (after[n, r] - before[n, r])
                for j in range(3):
                    normal[i, j] += weighted * terms[j]
    # Elimination without pivots: the system is positive definite.
    for i in range(3):
        for k in range(i + 1, 3):
            share = normal[k, i] / normal[i, i]
            motion[k] -= share * motion[i]
            for j in range(i, 3):
                normal[k, j] -= share * normal[i, j]
    for i in range(2, -1, -1):
        for j in range(i + 1, 3):
            motion[i] -= normal[i, j] * motion[j]
        motion[i] /= normal[i, i]


@compiled_in_place
def _move(x, rows, motion, slope, out):  # type: ignore[no-untyped-def]
    for n in range(len(x)):
        slopes(x[n], rows, slope)
        for r in range(len(rows)):
            out[n, r] = x[n, r] + motion[0] + motion[1] * (rows[r] / rows[-1]) + motion[2] * slope[r]


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
        rows: (m,) y in pixels, two or more, increasing, the last above 0.

    Returns:
        (3,) coefficients for :func:`moved`; zeros without lines.
    """
    motion = np.zeros(3)
    if len(before):
        prior = _STIFFNESS * max(float(weight.sum()) / len(before), 1e-9) * _PRIOR
        _fit(before, after, weight, rows, prior, np.empty(len(rows)), np.empty(3), np.empty((3, 3)), motion)
    return motion


def moved(x: NDArray[np.float64], rows: NDArray[np.float64], motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move lines, x (n, m) at rows (m,), by what :func:`road_motion` gave."""
    out = np.empty_like(x)
    _move(x, rows, motion, np.empty(len(rows)), out)
    return out
