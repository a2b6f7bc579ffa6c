"""Masks as runs in column order, as COCO has them: small enough to hold those of a whole recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.errors import WeakSupervisionError


def encode_runs(mask: ArrayLike) -> NDArray[np.int32]:
    """Lengths of the runs of an (H, W) mask, column by column, alternately of zeros and ones, zeros first."""
    flat = np.asarray(mask, dtype=np.bool_).ravel(order="F")
    bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    runs = np.diff(bounds)
    return np.concatenate([[0], runs] if flat.size and flat[0] else [runs]).astype(np.int32)


def decode_runs(runs: ArrayLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The (H, W) bool mask of runs.

    Raises:
        WeakSupervisionError: the runs do not fill the image.
    """
    lengths = np.asarray(runs, dtype=np.int64).reshape(-1)
    if (lengths < 0).any() or int(lengths.sum()) != size[0] * size[1]:
        raise WeakSupervisionError(
            f"expected runs that fill {size[1]}x{size[0]} pixels, got runs of {int(lengths.sum())}; "
            "the mask is of another image"
        )
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size, order="F")
