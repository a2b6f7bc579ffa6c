"""Affinities of pixels: what is taken as such, and the fixed-point weights that they become.

What a weight is stands in the contract of :mod:`rtseg.ops.adjacency`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError, GroupingError

FIXED_POINT_ONE = 1 << 24
LARGEST = np.float32(1.000001)
"""The largest affinity that is taken, as 1."""
MAX_PIXEL_EDGES = 1 << 29
MAX_PIXELS = 1 << 30

Offsets = Sequence[Sequence[int]] | NDArray[np.integer]


def quantize_threshold(threshold: float) -> int:
    """Give a threshold in [0, 1] as a fixed-point weight, by the rule of the affinities."""
    value = float(threshold)
    if not 0.0 <= value <= 1.0:
        raise ArgumentError(f"expected a threshold in [0, 1], got {threshold!r}: pass a probability")
    return int(np.rint(np.float32(value) * np.float32(FIXED_POINT_ONE)))


def check_offsets(offsets: Offsets, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Give `offsets` as an (K, 2) int64 array of (dy, dx), after checking it against affinities of `shape` (K, H, W).

    Raises:
        ArgumentError: if the shapes do not fit, an offset is zero or repeated, or the image is too large to index.
    """
    try:
        return _checked_once(offsets, shape).copy()  # type: ignore[arg-type]
    except TypeError:  # lists and arrays may have been changed since
        return _checked(offsets, shape)


def _checked(offsets: Offsets, shape: tuple[int, ...]) -> NDArray[np.int64]:
    try:
        steps = np.asarray(offsets)
        whole = steps.dtype.kind in "iu" or bool(np.all(steps == np.rint(steps)))
        steps = steps.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"expected offsets as K pairs of integers (dy, dx), got {offsets!r}: {error}") from error
    if len(shape) != 3:
        raise ArgumentError(f"expected affinities of shape (K, H, W), got {shape}: put the offsets' channel first")
    if steps.ndim != 2 or steps.shape[1] != 2 or not whole:
        raise ArgumentError(f"expected offsets as K pairs of integers (dy, dx), got shape {steps.shape}")
    if len(steps) != shape[0] or len(steps) == 0:
        raise ArgumentError(f"expected one offset a channel, got {len(steps)} offsets for {shape[0]} affinity channels")
    if not steps.any(axis=1).all():
        raise ArgumentError("expected offsets that lead to another pixel, got (0, 0): leave that channel out")
    if len({(int(dy), int(dx)) for dy, dx in steps}) != len(steps):
        raise ArgumentError("expected offsets that differ from each other, got a repeated one: leave that channel out")
    if shape[1] < 1 or shape[2] < 1:
        raise ArgumentError(f"expected an image of at least one pixel, got {shape[1]}x{shape[2]}: pass a whole frame")
    if shape[1] * shape[2] > MAX_PIXELS or shape[0] * shape[1] * shape[2] > MAX_PIXEL_EDGES:
        raise ArgumentError(
            f"expected at most 2**30 pixels and 2**29 pixel edges, got affinities of shape {tuple(shape)}: "
            "cut the image into parts"
        )
    return steps


_checked_once = lru_cache(maxsize=64)(_checked)


def quantize_affinity(affinity: NDArray[np.floating], offsets: Offsets) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Turn affinities into the fixed-point weights of the module's contract.

    Args:
        affinity: (K, H, W) floats in [0, 1]; ``affinity[k, y, x]`` joins pixel (y, x) to
            ``(y + offsets[k][0], x + offsets[k][1])``. Values whose second pixel lies outside the image are ignored,
            but must be numbers all the same.
        offsets: K pairs (dy, dx).

    Returns:
        (K, H, W) int32 weights in 0..2**24, and the offsets as (K, 2) int64.

    Raises:
        GroupingError: on NaN or values outside 0..`LARGEST`.
        ArgumentError: on shapes that do not fit.
    """
    values, steps = _check_affinity(affinity, offsets)
    weights = np.zeros(values.shape, dtype=np.int32)
    _refuse(_quantize(values, steps, steps, np.arange(len(steps)), weights))
    return weights, steps


def _check_affinity(affinity: NDArray[np.floating], offsets: Offsets) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    maps = np.asarray(affinity)
    steps = check_offsets(offsets, maps.shape)
    if maps.dtype.kind != "f":
        raise ArgumentError(f"expected affinities as floats in [0, 1], got {maps.dtype}: divide by the largest value")
    return np.ascontiguousarray(maps, dtype=np.float32), steps


def _refuse(bad: int) -> None:
    if bad:
        raise GroupingError(
            f"expected affinities in [0, 1], got {bad} values that are NaN or outside: apply the sigmoid first"
        )


def check_mask(mask: NDArray[np.bool_] | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Give `mask` as a contiguous (H, W) bool array; all true where there is none."""
    if mask is None:
        return np.ones(size, dtype=np.bool_)
    array = np.asarray(mask)
    if array.shape != tuple(size):
        raise ArgumentError(f"expected a mask of shape {tuple(size)}, got {array.shape}: use the affinities' size")
    if array.dtype != np.bool_:
        raise ArgumentError(f"expected a mask of type bool, got {array.dtype}: compare it with 0 first")
    return np.ascontiguousarray(array)


def forward_weights(
    affinity: NDArray[np.floating], offsets: Offsets
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Quantize as `quantize_affinity`, with every offset as later pixel - earlier pixel: d and -d are added.

    Args:
        affinity: (K, H, W) floats in [0, 1] as there.
        offsets: K pairs (dy, dx).

    Returns:
        (J, H, W) int32 weights, (J, 2) int64 offsets by increasing dy * W + dx, (J,) int64 how many weights were added.

    Raises:
        GroupingError: on NaN or values outside 0..`LARGEST`.
        ArgumentError: on shapes that do not fit.
    """
    values, steps = _check_affinity(affinity, offsets)
    kinds, numbers, targets = _forward(tuple(map(tuple, steps.tolist())), values.shape[2])
    merged = np.zeros((len(kinds), *values.shape[1:]), dtype=np.int32)
    _refuse(_quantize(values, steps, kinds, targets, merged))
    return merged, kinds, numbers


@compiled
def _quantize(values, steps, kinds, targets, merged):  # type: ignore[no-untyped-def]
    """Add the weights of channel k to those of offset ``kinds[targets[k]]``, its own or opposite; count bad values."""
    channels, height, width = values.shape
    bad = 0
    for k in range(channels):
        j = targets[k]
        dy, dx = kinds[j, 0], kinds[j, 1]
        left, right = max(0, -dx), max(0, -dx, min(width, width - dx))
        for y in range(height):
            row = values[k, y]
            bad += count_outside(row)
            if steps[k, 0] == dy and steps[k, 1] == dx:
                _add_weights(row, merged[j, y])
            elif y >= dy and left < right:  # the value lies at the later pixel: bring it to the earlier one
                _add_weights(row[left + dx : right + dx], merged[j, y - dy, left:right])
    return bad


@compiled_in_place
def count_outside(values):  # type: ignore[no-untyped-def]
    """Count the values of (n,) float32 that are no affinity: NaN, negative, or over `LARGEST`."""
    bad = np.int32(0)  # of the values' width, for vector instructions
    for i in range(values.size):
        bad = np.int32(bad + np.int32(not ((values[i] >= np.float32(0.0)) & (values[i] <= LARGEST))))
    return bad


@compiled_in_place
def _add_weights(values, weights):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        share = min(values[i], np.float32(1.0)) if values[i] >= np.float32(0.0) else np.float32(0.0)
        weights[i] += np.int32(np.rint(share * np.float32(FIXED_POINT_ONE)))


@lru_cache(maxsize=64)
def _forward(
    steps: tuple[tuple[int, int], ...], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Offsets to later pixels, how many of `steps` are each or its opposite, and which of them each step is."""
    forward = [step if step > (0, 0) else (-step[0], -step[1]) for step in steps]
    kinds = sorted(set(forward), key=lambda step: (step[0] * width + step[1], step))
    numbers, targets = [forward.count(kind) for kind in kinds], [kinds.index(step) for step in forward]
    return np.array(kinds, dtype=np.int64), np.array(numbers, dtype=np.int64), np.array(targets, dtype=np.int64)
