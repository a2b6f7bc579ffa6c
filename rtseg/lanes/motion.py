"""How a picture of the road moves from one frame to the next, told by the lines that are in both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.lanes.sampling import interpolated, sample_rows, slopes

_STIFFNESS = 0.02  # of the prior that nothing moves, beside the weight of a whole line
_PRIOR = np.array([0.05, 0.05, 1.0])


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


def carried(
    polyline: NDArray[np.float32], rows: NDArray[np.float64], motion: NDArray[np.float64], width: int
) -> NDArray[np.float32]:
    """What of a polyline (k, 2) is in an image after it moved as :func:`moved` says."""
    there = np.empty_like(polyline)
    first, end = _carry(polyline, rows, motion, width, *np.empty((3, len(rows))), there)
    return there[first:end]


@compiled_in_place
def _carry(polyline, rows, motion, width, sampled, weight, slope, out):  # type: ignore[no-untyped-def]
    """Write the points of a polyline that moved; give the first of those in the image and the one after the last."""
    count = len(polyline)
    first, end = 0, 0
    if count > 1:
        sample_rows(polyline, rows, sampled, weight)
        slopes(sampled, rows, slope)
    for i in range(count):
        out[i, 0], out[i, 1] = polyline[i, 0], polyline[i, 1]
        if count > 1:
            y = np.float64(polyline[i, 1])
            pitched = motion[2] * interpolated(y, rows, slope)
            out[i, 0] = np.float32(polyline[i, 0] + motion[0] + motion[1] * y / rows[-1] + pitched)
        if 0 <= out[i, 0] <= width - 1:
            if end == 0:
                first = i
            end = i + 1
    for i in range(first, end):
        out[i, 0] = min(max(out[i, 0], np.float32(0)), np.float32(width - 1))
    return first, end


def steadied(expected: NDArray[np.float32], seen: NDArray[np.float32], share: float, width: int) -> NDArray[np.float32]:
    """Draw a line towards where it was expected, against the noise of each picture.

    Args:
        expected: (j, 2) polyline, y increasing; may be empty.
        seen: (k, 2) polyline, likewise.
        share: of the way that it is drawn.
        width: of the image.

    Returns:
        (k, 2) float32 at the rows of `seen`.
    """
    steady = np.empty_like(seen)
    _steady(expected, seen, share, width, steady)
    return steady


@compiled_in_place
def _steady(expected, seen, share, width, steady):  # type: ignore[no-untyped-def]
    last, bottom = len(expected) - 1, len(seen) - 1
    for i in range(len(seen)):
        x, y = np.float64(seen[i, 0]), seen[i, 1]
        steady[i, 1] = y
        if last >= 1 and seen[0, 1] <= expected[last, 1] and seen[bottom, 1] >= expected[0, 1]:
            # Beyond its ends it is expected as far beside the line as at them; lines have a point a row.
            inside = min(max(y, expected[0, 1]), expected[last, 1])
            there = interpolated(inside, expected[:, 1], expected[:, 0])
            x += share * (there - seen[min(max(i + int(inside - y), 0), bottom), 0])
        steady[i, 0] = min(max(x, 0.0), width - 1.0)
