"""Colors to instances: the decoding of Learning to Cluster for any number of instances (sections III-B and V-B)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.grouped import channel_means, renumber
from rtseg.ops.components import label_components
from rtseg.ops.union_find import find_root


def color_components(
    ids: NDArray[np.integer],
    centers: NDArray[np.floating] | None = None,
    merge_distance: float = 20.0,
    min_area: int = 1,
    connectivity: int = 8,
) -> NDArray[np.int32]:
    """Split a coloring into connected components, and rejoin those whose predicted centers agree.

    The network gives nearby instances different colors; an instance is a connected component of one color. Where
    something in front cuts an instance apart, or it is larger than the reach of the coloring, its parts still predict
    one center: segments whose mean centers are at most `merge_distance` apart are one instance, transitively, whatever
    their colors (section V-B).

    Args:
        ids: (H, W) integers, the color of each pixel, 0 for background.
        centers: (2, H, W) floats, (x, y) in pixels of the instance's center as each pixel predicts it, absolute (not
            relative to the pixel); None merges nothing.
        merge_distance: pixels; the paper uses 20.
        min_area: instances of fewer pixels are dropped, after merging.
        connectivity: 4 or 8.

    Returns:
        (H, W) int32 labels 1..n in raster order of first pixels.

    Raises:
        GroupingError: on centers that are not finite.
        ArgumentError: on shapes and parameters that do not fit.

    Example:
        >>> color_components(np.array([[1, 1, 0, 2, 2]]), min_area=1).tolist()
        [[1, 1, 0, 2, 2]]
    """
    colors = np.ascontiguousarray(ids)
    components, count = label_components(colors, connectivity)
    if min_area < 0 or not merge_distance >= 0:
        raise ArgumentError(
            f"expected a merge distance and a least area of 0 or more, got {merge_distance} and {min_area}"
        )
    group = np.arange(count + 1, dtype=np.int32)
    flat = components.reshape(-1)
    if centers is not None:
        maps = np.ascontiguousarray(centers, dtype=np.float32)
        if maps.shape != (2, *colors.shape):
            raise ArgumentError(f"expected centers of shape {(2, *colors.shape)} (x, y), got {maps.shape}")
        means, sizes = channel_means(flat, count, maps.reshape(2, -1))
        if not np.isfinite(means).all():
            raise GroupingError("expected finite centers on every colored pixel, got NaN or infinity: mask them first")
        _join_close(means, float(merge_distance), group)
    else:
        sizes = np.bincount(flat, minlength=count + 1)[1:]
    total = np.zeros(count + 1, dtype=np.int64)
    np.add.at(total, group[1:], sizes)
    mapping = np.where(total[group] >= min_area, group, 0).astype(np.int32)
    renumber(flat, mapping)
    return components


@compiled
def _join_close(means, distance, group):  # type: ignore[no-untyped-def]
    """Unite segments with close centers; `group[i + 1]` becomes the smallest label of segment i's group.

    Segments are swept by their center's x, so that far ones are never compared.
    """
    order = np.argsort(means[:, 0])
    for i in range(order.size):
        a = order[i]
        for j in range(i + 1, order.size):
            b = order[j]
            dx = means[b, 0] - means[a, 0]
            if dx > distance:
                break
            dy = means[b, 1] - means[a, 1]
            if dx * dx + dy * dy <= distance * distance:
                p = find_root(group, a + 1)
                q = find_root(group, b + 1)
                group[max(p, q)] = min(p, q)
    for i in range(1, group.size):
        group[i] = group[group[i]]
