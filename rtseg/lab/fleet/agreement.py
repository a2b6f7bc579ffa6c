"""How much of what two models, or two neighboring frames, show is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.lab.scores.instances.boxes import box_overlaps
from rtseg.ops.assignment import assign

_NEAR = 0.02  # of the width: lines that lie nearer on the mean, at the rows that both have, are one
_OVERLAP = 0.5  # intersection over union from which boxes of one class are one
_ROWS = 24


def disagreement(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Share of what either row shows that the other does not: 0 where all is the same, 1 where nothing is.

    Args:
        a: a row with ``lanes`` or ``objects``, ``width`` and ``height``.
        b: another, of the same frame or the next.

    Raises:
        ConfigError: one has lanes, and the other objects.
    """
    if (a["lanes"] is None) != (b["lanes"] is None):
        raise ConfigError("expected models of one task, got lanes of one and objects of the other; name two of a kind")
    kind = "lanes" if a["lanes"] is not None else "objects"
    ours, theirs = a[kind] or [], b[kind] or []
    if not ours and not theirs:
        return 0.0
    if not ours or not theirs:
        return 1.0
    if kind == "lanes":
        same = assign(_apart(ours, theirs, a["height"]), _NEAR * a["width"])
    else:
        same = assign(1 - _overlaps(ours, theirs), 1 - _OVERLAP)
    return 1 - 2 * int(np.count_nonzero(np.asarray(same) >= 0)) / (len(ours) + len(theirs))


def _apart(ours: list[Any], theirs: list[Any], height: int) -> NDArray[np.float64]:
    """Mean distance in pixels of every pair of lines, infinite where they share no row."""
    rows = np.linspace(0, height - 1, 2 * _ROWS)[_ROWS:]
    a, b = (np.array([_sampled(lane, rows) for lane in lanes]) for lanes in (ours, theirs))
    distance = np.abs(a[:, None] - b[None])
    shared = np.isfinite(distance)
    total = np.where(shared, distance, 0).sum(axis=-1)
    return np.where(shared.any(axis=-1), total / np.maximum(shared.sum(axis=-1), 1), np.inf)


def _sampled(lane: dict[str, Any], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if not lane["y"]:
        return np.full(rows.size, np.nan)
    return np.asarray(np.interp(rows, lane["y"], lane["x"], left=np.nan, right=np.nan))


def _overlaps(ours: list[Any], theirs: list[Any]) -> NDArray[np.float64]:
    """Intersection over union of every pair of boxes, 0 for other classes."""
    a, b = (np.array([[thing[k] for k in ("x0", "y0", "x1", "y1")] for thing in things]) for things in (ours, theirs))
    alike = np.array([[x["class"] == y["class"] for y in theirs] for x in ours])
    return np.asarray(np.where(alike, box_overlaps(a, b), 0.0))
