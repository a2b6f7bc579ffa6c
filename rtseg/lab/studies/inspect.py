"""Pictures of affinities and of what grouping makes of them, for people who tune models (`rtseg inspect affinity`)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import ArgumentError, MediaError
from rtseg.files import refuse_inputs, write_bytes
from rtseg.grouping import affinity_union, gaec
from rtseg.ops.affinities import MAX_PIXELS, check_mask, quantize_affinity

_LEVELS = (0.98, 0.95, 0.9, 0.8, 0.7, 0.6)


def load_affinity(
    path: str | Path,
) -> tuple[NDArray[np.floating], NDArray[np.integer], NDArray[np.bool_] | None]:
    """Read `affinity` (K, H, W), `offsets` (K, 2) and, where there is one, `mask` (H, W) from an .npz file.

    Raises:
        MediaError: if the file cannot be read or lacks an array.
        ArgumentError: if the arrays do not fit.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise OSError("it is a folder, a pipe or a device")
        with np.load(Path(path), allow_pickle=False) as file:
            missing = {"affinity", "offsets"} - set(file.files)
            if missing:
                raise MediaError(
                    f"expected arrays affinity and offsets in {path}, missing {', '.join(sorted(missing))}"
                )
            affinity, offsets = file["affinity"], file["offsets"]
            mask = file["mask"].astype(np.bool_) if "mask" in file.files else None
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise MediaError(f"expected an .npz file written by numpy.savez, could not read {path}: {error}") from error
    quantize_affinity(affinity, offsets)
    check_mask(mask, (affinity.shape[1], affinity.shape[2]))
    return affinity, offsets, mask


def merge_order(
    affinity: NDArray[np.floating],
    offsets: NDArray[np.integer],
    threshold: float = 0.5,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Give, for each pixel, how early the boundary to its right or below was merged away.

    GAEC with mean linkage is run at falling thresholds (its partitions are nested); a boundary's value is the highest
    threshold at which it is gone.

    Returns:
        (H, W) float32: 0 where the boundary stays, else the threshold at which it went.
    """
    out = np.zeros(affinity.shape[1:], dtype=np.float32)
    for level in sorted({level for level in _LEVELS if level > threshold} | {threshold}):
        labels = gaec(affinity, offsets, level, mask=mask)
        out[_boundary(labels) == 0] = level
    if mask is not None:
        out[~mask] = 0
    return out


def render_affinity(
    affinity: NDArray[np.floating],
    offsets: NDArray[np.integer],
    threshold: float = 0.5,
    superpixel_threshold: float = 0.98,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw affinities, merge order, super-pixel grouping and exact grouping side by side.

    Args:
        affinity: (K, H, W) floats in [0, 1].
        offsets: K pairs (dy, dx).
        threshold: of the merging.
        superpixel_threshold: of `affinity_union`.
        mask: (H, W) bool.

    Returns:
        (2 H' + captions, 2 W', 3) uint8 BGR.
    """
    weights, _ = quantize_affinity(affinity, offsets)
    if weights.shape[1] * weights.shape[2] > MAX_PIXELS // 64:
        raise ArgumentError(
            f"expected at most {MAX_PIXELS // 64} pixels to draw, got {weights.shape[1:]}: crop the maps"
        )
    weakest = affinity.min(axis=0)
    exact = gaec(affinity, offsets, threshold, mask=mask)
    quick = affinity_union(affinity, offsets, superpixel_threshold, threshold, mask)
    panels = [
        (f"weakest of {len(affinity)} affinities", _heat(weakest)),
        ("threshold at which boundaries go (dark: they stay)", _heat(merge_order(affinity, offsets, threshold, mask))),
        (f"affinity_union {superpixel_threshold:g}: {counted(quick.max(initial=0), 'region')}", paint_labels(quick)),
        (f"gaec mean {threshold:g}: {counted(exact.max(initial=0), 'region')}", paint_labels(exact)),
    ]
    scale = max(1, -(-400 // weakest.shape[1]))
    tiles = []
    for caption, panel in panels:
        tile = cv2.resize(panel, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        tile = cv2.copyMakeBorder(tile, 24, 4, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        tiles.append(cv2.putText(tile, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA))
    return np.asarray(np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])]), dtype=np.uint8)


def inspect_affinity(
    path: str | Path, out: str | Path, threshold: float = 0.5, superpixel_threshold: float = 0.98
) -> Path:
    """Draw the affinities of an .npz file into one PNG and give its path; see `load_affinity` and `render_affinity`."""
    affinity, offsets, mask = load_affinity(path)
    picture = render_affinity(affinity, offsets, threshold, superpixel_threshold, mask)
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise MediaError(f"expected a picture that PNG can hold, got one of shape {picture.shape}")
    target = Path(out)
    refuse_inputs([target], [path])
    write_bytes(target, encoded.tobytes())
    return target


def paint_labels(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Give every label a color that stays with its number, 0 black, and boundaries a dark line."""
    rng = np.random.default_rng(1)
    palette = np.vstack([[0, 0, 0], rng.integers(60, 256, (255, 3))]).astype(np.uint8)
    picture = palette[np.where(labels > 0, (labels - 1) % 255 + 1, 0)]
    picture[_boundary(labels) > 0] //= 3
    return picture


def _boundary(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    edges = np.zeros(labels.shape, dtype=np.uint8)
    edges[:, :-1] |= (labels[:, 1:] != labels[:, :-1]).astype(np.uint8)
    edges[:-1] |= (labels[1:] != labels[:-1]).astype(np.uint8)
    return edges


def _heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(cv2.applyColorMap((values * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS), dtype=np.uint8)
