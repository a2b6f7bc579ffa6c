"""Cascade-GAEC: segments found on coarse maps, refined and completed on finer ones (DaffNet, 3.5, algorithm 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.affinity_union import merge_regions
from rtseg.grouping.association import follow_strongest
from rtseg.grouping.grouped import GroupedInstances, channel_means, renumber, repeated_channel_means
from rtseg.grouping.position_aware import join_segments
from rtseg.ops.adjacency import collect_edges
from rtseg.ops.affinities import forward_weights, quantize_affinity, quantize_threshold

FOUR_NEIGHBORS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Order of a level's affinity channels: right, lower, left, upper neighbor; two channels are the first two."""


@dataclass(frozen=True)
class CascadeLevel:
    """The heads' maps at one stride.

    Attributes:
        affinity: (4 or 2, h, w) floats in [0, 1] to the right, lower, left and upper neighbor (the first two suffice).
        semantic: (C, h, w) class probabilities.
        embedding: (k, ceil(h / f), ceil(w / f)) grouping embedding; None leaves PA-GAEC out at this level.
        stride: input pixels a map pixel.
        embedding_stride: input pixels an embedding pixel, f times `stride`; 0 where it is `stride`.
    """

    affinity: NDArray[np.floating]
    semantic: NDArray[np.floating]
    embedding: NDArray[np.floating] | None
    stride: int
    embedding_stride: int = 0


def cascade_gaec(
    levels: Sequence[CascadeLevel],
    background: Literal["exclude", "reopen"],
    background_classes: Sequence[int] = (0,),
    threshold: float = 0.5,
    position_threshold: float = 0.5,
    beta: float = 0.5,
    min_pixels: int = 4,
    min_area: int = 64,
    final: Literal["gaec", "association"] = "gaec",
    max_segments: int = 512,
) -> GroupedInstances:
    """Find instances from coarse to fine.

    At each level the labels of the level before are upsampled (nearest), pixels on the boundary of two labels are
    reopened, and GAEC with mean linkage groups segments and single pixels by the level's affinities. Segments of fewer
    than `min_pixels` map pixels are let go, to be found again at a finer level. PA-GAEC then joins segments, whether
    they touch or not (algorithm 2; section 3.2 speaks of disconnected ones), by embedding, semantics and position.
    Parallel edges weigh by the pixel edges they stand for; algorithm 1 averages the two plainly, which finds less.

    Args:
        levels: from coarse to fine; strides fall by whole factors, each map as large as its stride asks for.
        background: "exclude" keeps pixels whose best class is a background class out of the graph, at every level;
            "reopen" lets every pixel take part, drops segments whose mean best class is a background class, and
            reopens their pixels at the next level. The second costs many times more (see docs/grouping.md).
        background_classes: channels of `semantic` that are no objects.
        threshold: of GAEC and association.
        position_threshold: of PA-GAEC.
        beta: of PA-GAEC's position factors.
        min_pixels: smallest segment of a level, in its own pixels.
        min_area: smallest instance, in input pixels.
        final: what groups the last level: "gaec" (then PA-GAEC), or "association", algorithm 4, faster and coarser.
        max_segments: PA-GAEC is quadratic in segments; beyond this the smallest stay as they are.

    Returns:
        Labels at the size of the last level, with the class of the largest mean probability that is no background
        class, and that probability as score.

    Raises:
        GroupingError: before any work, on maps that are not finite or out of their range.
        ArgumentError: before any work, on shapes, strides or parameters that do not fit.
    """
    _check(levels, background, background_classes, min_pixels, min_area, final, max_segments)
    limit = quantize_threshold(threshold)
    # Before anything is grouped, since they are refused here if they are no affinities.
    given = [(level.affinity, FOUR_NEIGHBORS[: len(level.affinity)]) for level in levels]
    edges = [forward_weights(*maps) for maps in (given[:-1] if final == "association" else given)]
    followed = quantize_affinity(*given[-1]) if final == "association" else None
    is_background = np.zeros(levels[0].semantic.shape[0], dtype=np.bool_)
    is_background[list(background_classes)] = True
    labels: NDArray[np.int32] = np.zeros((0, 0), dtype=np.int32)
    for i, level in enumerate(levels):
        size = np.shape(level.affinity)[1:]
        semantic = np.ascontiguousarray(level.semantic, dtype=np.float32)
        inside = foreground(semantic, is_background) if background == "exclude" else np.ones(size, dtype=np.bool_)
        factor = levels[i - 1].stride // level.stride if i else 1
        seeds: NDArray[np.int32] = reopen(labels, factor, inside) if i else np.zeros(size, dtype=np.int32)
        last = i == len(levels) - 1
        if last and followed is not None:
            follow_strongest(seeds, *followed, inside, limit)
            labels, count = seeds, int(seeds.max())
        else:
            parts, parts_count = number_seeds(seeds, inside)
            graph = collect_edges(parts, parts_count, *edges[i])
            labels = np.empty_like(parts)
            count = merge_regions(parts.reshape(-1), parts_count, *graph, float(limit), labels.reshape(-1))
        labels, count = drop_small(labels, count, min_pixels)
        if count and level.embedding is not None and not (last and followed is not None):
            factor = (level.embedding_stride or level.stride) // level.stride
            limits = position_threshold, beta, max_segments
            labels, count = join_apart(labels, count, level.embedding, factor, semantic, *limits)
        if background == "reopen" and count and not last:
            means, _ = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
            labels, count = _select(labels, ~is_background[means.argmax(axis=1)])
    return _finish(labels, count, levels[-1], is_background, background, min_area)


def _check(
    levels: Sequence[CascadeLevel],
    background: str,
    background_classes: Sequence[int],
    min_pixels: int,
    min_area: int,
    final: str,
    max_segments: int,
) -> None:
    if len(levels) == 0:
        raise ArgumentError("expected at least one level, got none")
    if background not in ("exclude", "reopen"):
        raise ArgumentError(f'expected background "exclude" or "reopen", got {background!r}')
    if final not in ("gaec", "association"):
        raise ArgumentError(f'expected final "gaec" or "association", got {final!r}')
    if min_pixels < 1 or min_area < 0 or max_segments < 0:
        raise ArgumentError(
            f"expected min_pixels of 1 or more, min_area and max_segments of 0 or more, got {min_pixels}, {min_area} "
            f"and {max_segments}"
        )
    classes = np.shape(levels[0].semantic)[0] if np.ndim(levels[0].semantic) == 3 else 0
    if not all(0 <= c < classes for c in background_classes):
        raise ArgumentError(f"expected background classes in 0..{classes - 1}, got {tuple(background_classes)}")
    if len(set(background_classes)) == classes:
        raise ArgumentError(f"expected at least one class that is no background, got {classes} classes in all")
    for i, level in enumerate(levels):
        _check_level(level, classes)
        if i:
            coarse = levels[i - 1]
            factor = coarse.stride // level.stride
            size = np.shape(level.affinity)[1:]
            wanted = tuple(-(-n // max(factor, 1)) for n in size)
            if factor < 1 or coarse.stride % level.stride or wanted != np.shape(coarse.affinity)[1:]:
                raise ArgumentError(
                    f"expected levels from coarse to fine, strides in whole factors, got stride {coarse.stride} "
                    f"{np.shape(coarse.affinity)[1:]} before stride {level.stride} {size}"
                )


def _check_level(level: CascadeLevel, classes: int) -> None:
    channels = np.shape(level.affinity)[0] if np.ndim(level.affinity) == 3 else 0
    if channels not in (2, 4):
        raise ArgumentError(f"expected affinities (2 or 4, h, w), got {np.shape(level.affinity)}")
    if level.stride < 1:
        raise ArgumentError(f"expected a stride of 1 or more, got {level.stride}")
    embedding_stride = level.embedding_stride or level.stride
    if embedding_stride < level.stride or embedding_stride % level.stride:
        raise ArgumentError(
            f"expected an embedding stride that is the level's {level.stride} or a multiple, got {embedding_stride}"
        )
    for name, maps, stride in (
        ("semantic", level.semantic, level.stride),
        ("embedding", level.embedding, embedding_stride),
    ):
        if maps is None:
            continue
        size = tuple(-(-n * level.stride // stride) for n in np.shape(level.affinity)[1:])
        if np.ndim(maps) != 3 or np.shape(maps)[1:] != size or np.asarray(maps).dtype.kind != "f":
            raise ArgumentError(
                f"expected {name} maps as floats (C, {size[0]}, {size[1]}) as the affinities ask for at stride "
                f"{stride}, got {np.asarray(maps).dtype} {np.shape(maps)}"
            )
        values = np.ascontiguousarray(maps, dtype=np.float32).reshape(-1)
        if not _in_range(values, np.float32(0 if name == "semantic" else -np.inf)):
            raise GroupingError(f"expected finite {name} maps, semantics of 0 or more: apply the softmax first")
    if np.shape(level.semantic)[0] != classes:
        raise ArgumentError(f"expected {classes} classes at every level, got {np.shape(level.semantic)[0]}")


@compiled
def _in_range(values, least):  # type: ignore[no-untyped-def]
    """Say whether all values are finite, and at least so much."""
    good = True
    for i in range(values.size):
        good &= (values[i] - values[i] == 0) & (values[i] >= least)
    return good


@compiled
def foreground(semantic, is_background):  # type: ignore[no-untyped-def]
    """Say where the best class (ties: the lower) is no background class; semantic (C, h, w) float32."""
    classes, height, width = semantic.shape
    inside = np.empty((height, width), dtype=np.bool_)
    best = np.empty(width, dtype=np.float32)
    for y in range(height):
        for x in range(width):
            best[x] = semantic[0, y, x]
            inside[y, x] = not is_background[0]
        for c in range(1, classes):
            thing = not is_background[c]
            for x in range(width):
                better = semantic[c, y, x] > best[x]
                best[x] = semantic[c, y, x] if better else best[x]
                inside[y, x] = thing if better else inside[y, x]
    return inside


@compiled
def reopen(labels, factor, inside):  # type: ignore[no-untyped-def]
    """Upsample labels (nearest) to the size of `inside`, and unlabel pixels on boundaries and outside (figure 4)."""
    height, width = inside.shape
    out = np.zeros((height, width), dtype=np.int32)
    for y in range(height):
        cy = y // factor
        up = max(y - 1, 0) // factor
        down = min(y + 1, height - 1) // factor
        for cx in range(labels.shape[1]):
            label = labels[cy, cx]
            if label == 0 or labels[up, cx] != label or labels[down, cx] != label:
                continue
            begin, end = cx * factor, min(cx * factor + factor, width)
            if begin > 0 and labels[cy, cx - 1] != label:
                begin += 1
            if end < width and labels[cy, cx + 1] != label:
                end -= 1
            for x in range(begin, end):
                out[y, x] = label if inside[y, x] else 0
    return out


@compiled
def number_seeds(seeds, inside):  # type: ignore[no-untyped-def]
    """Number seeds, and every other pixel inside as a region of its own, in raster order of first pixels."""
    height, width = seeds.shape
    most = 0
    for y in range(height):
        for x in range(width):
            most = max(most, seeds[y, x])
    fresh = np.zeros(most + 1, dtype=np.int32)
    parts = np.zeros((height, width), dtype=np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            seed = seeds[y, x]
            if seed > 0 and fresh[seed] > 0:
                parts[y, x] = fresh[seed]
            elif inside[y, x]:
                count += 1
                parts[y, x] = count
                if seed > 0:
                    fresh[seed] = count
    return parts, count


def _select(labels: NDArray[np.int32], keep: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    mapping = np.zeros(keep.size + 1, dtype=np.int32)
    mapping[1:][keep] = np.flatnonzero(keep) + 1
    return labels, len(renumber(labels.reshape(-1), mapping))


@compiled
def drop_small(labels, count, least):  # type: ignore[no-untyped-def]
    """Take segments of fewer than `least` pixels out of labels 0..count, in place, and number the others.

    Returns:
        The labels, and the number of segments.
    """
    flat = labels.reshape(-1)
    mapping = np.zeros(count + 1, dtype=np.int32)
    for p in range(flat.size):
        mapping[flat[p]] += 1
    for i in range(count + 1):
        mapping[i] = i if mapping[i] >= least else 0
    return labels, renumber(flat, mapping).size


@compiled
def _boxes(labels, count):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    boxes = np.empty((count, 4), dtype=np.float64)
    boxes[:, :2] = 1e9
    boxes[:, 2:] = -1.0
    for y in range(height):
        for x in range(width):
            i = labels[y, x] - 1
            if i >= 0:
                boxes[i, 0] = min(boxes[i, 0], x)
                boxes[i, 1] = min(boxes[i, 1], y)
                boxes[i, 2] = max(boxes[i, 2], x + 1)
                boxes[i, 3] = max(boxes[i, 3], y + 1)
    return boxes


def join_apart(
    labels: NDArray[np.int32],
    count: int,
    embedding: NDArray[np.floating],
    factor: int,
    semantic: NDArray[np.float32],
    threshold: float,
    beta: float,
    most: int,
) -> tuple[NDArray[np.int32], int]:
    """Join the `most` largest of segments 1..count by embedding, classes and position, in place; give their number.

    A pixel of `embedding` stands for `factor` times `factor` labels.
    """
    flat = labels.reshape(-1)
    embedding = np.ascontiguousarray(embedding, dtype=np.float32)
    if factor == 1:
        x, sizes = channel_means(flat, count, embedding.reshape(len(embedding), -1))
    else:
        x, sizes = repeated_channel_means(labels, count, embedding, factor)
    p, _ = channel_means(flat, count, semantic.reshape(len(semantic), -1))
    chosen = np.arange(count) if count <= most else np.sort(np.argsort(-sizes, kind="stable")[:most])
    groups = join_segments(x[chosen], p[chosen], _boxes(labels, count)[chosen], threshold, beta)
    if groups.max(initial=0) == groups.size:
        return labels, count
    mapping = np.arange(count + 1, dtype=np.int32)
    first = np.zeros(groups.max(initial=0) + 1, dtype=np.int32)
    first[groups[::-1]] = chosen[::-1] + 1
    mapping[chosen + 1] = first[groups]
    return labels, len(renumber(flat, mapping))


def _finish(
    labels: NDArray[np.int32],
    count: int,
    level: CascadeLevel,
    is_background: NDArray[np.bool_],
    background: str,
    min_area: int,
) -> GroupedInstances:
    semantic = np.ascontiguousarray(level.semantic, dtype=np.float32)
    means, sizes = channel_means(labels.reshape(-1), count, semantic.reshape(len(semantic), -1))
    keep = sizes * level.stride**2 >= min_area
    if background == "reopen":
        keep &= ~is_background[means.argmax(axis=1)] if count else keep
    left = count
    if not keep.all():
        labels, left = _select(labels, keep)
        means = means[keep]
    means[:, is_background] = -1.0
    classes = means.argmax(axis=1).astype(np.int32) if left else np.zeros(0, np.int32)
    scores = np.clip(means[np.arange(left), classes], 0.0, 1.0).astype(np.float32)
    return GroupedInstances(labels, classes, scores)
