"""Graph merge of GMIS: 56 affinities and class probabilities to instances (GMIS, sections 3.4 and 4)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.block_edges import block_parts, collect_block_edges
from rtseg.grouping.block_graph import contract_stage, order_by_tiles, unite_certain
from rtseg.grouping.grouped import GroupedInstances, renumber
from rtseg.ops.affinities import FIXED_POINT_ONE, count_outside, quantize_threshold
from rtseg.ops.components import label_components
from rtseg.ops.threads import run_strips, strip_bounds, thread_count
from rtseg.ops.union_find import find_root
from rtseg.settings import Probability, Settings

GMIS_DISTANCES = (1, 2, 4, 8, 16, 32, 64)
_DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
GMIS_OFFSETS = tuple((d * dy, d * dx) for d in GMIS_DISTANCES for dy, dx in _DIRECTIONS)
"""(dy, dx) of the 56 affinity channels, distance by distance (equations 1 and 2)."""

Stages = tuple[tuple[tuple[int, ...], Probability], ...]


class GraphMergeTricks(Settings):
    """The tricks and thresholds of graph merge, whatever the classes.

    Attributes:
        stages: (distances, threshold) of each stage of merging (section 3.4).
        exclude_background: leave pixels whose best class is background out (section 4.1).
        areas: group each connected area of 32-px cells with objects on its own (section 4.1).
        cell: side of those cells, map pixels.
        refine: weigh affinities by the classes' agreement (PAR, equations 5 and 6).
        alpha: of equation 6.
        window: side of the pixel blocks merged beforehand (FLM, section 4.4); 1 switches it off.
        partition: group each super-class on its own (SCP, section 4.5); needs exclude_background.
        certain: pixels that an (averaged, refined) affinity of the first stage's distances of at least this joins are
            one from the start, whatever their other edges say, which leaves a far smaller graph; None joins none.
    """

    stages: Stages = (((1, 2, 4), 0.97), ((8, 16), 0.7), ((32, 64), 0.3))
    exclude_background: bool = True
    areas: bool = True
    cell: Annotated[int, Field(ge=1, le=4096)] = 32
    refine: bool = True
    alpha: Annotated[float, Field(gt=0, le=1000)] = 5.0
    window: Annotated[int, Field(ge=1, le=64)] = 2
    partition: bool = True
    certain: Probability | None = None

    @field_validator("stages")
    @classmethod
    def _have_each_distance_once(cls, stages: Stages) -> Stages:
        distances = [d for stage, _ in stages for d in stage]
        if not distances or len(set(distances)) != len(distances) or not set(distances) <= set(GMIS_DISTANCES):
            raise ValueError(f"expected distances out of {GMIS_DISTANCES}, each once")
        return stages

    @model_validator(mode="after")
    def _partition_what_is_no_background(self) -> GraphMergeTricks:
        if self.partition and not self.exclude_background:
            raise ValueError("expected background to be excluded where super-classes are partitioned")
        return self


class GraphMergeSettings(GraphMergeTricks):
    """What graph merge does; every trick of the paper's table 2 can be switched off.

    Attributes:
        super_classes: groups of semantic channels that are confused with one another but not with others (section 4.2);
            every channel of objects in one group, channel 0 (background) in none.
        min_pixels: smallest instance, map pixels (the cardinality threshold r_c).
    """

    super_classes: tuple[tuple[int, ...], ...]
    min_pixels: Annotated[int, Field(ge=1)] = 16

    @field_validator("super_classes")
    @classmethod
    def _have_each_channel_once(cls, groups: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        channels = [c for group in groups for c in group]
        if not channels or len(set(channels)) != len(channels) or min(channels) < 1:
            raise ValueError("expected super-classes of channels from 1 on, each in one group")
        return groups


def graph_merge(
    affinity: NDArray[np.floating],
    semantic: NDArray[np.floating],
    settings: GraphMergeSettings,
    threads: int | None = None,
) -> GroupedInstances:
    """Merge pixels to instances.

    The two values of a pair, one from each of its pixels, are averaged; refined by semantics; and, where ``window`` is
    over 1, averaged between blocks of pixels as algorithm 1 would (figure 5). Then stage by stage the longer distances
    join in and the threshold falls. Parallel edges weigh by the pixel edges they stand for; algorithm 1 averages
    the two plainly, which finds less.

    Distances, cells and blocks count pixels of the map, not of the input as in the paper: at stride 4 a distance of 64
    is 256 input pixels, and a block of 2 x 2 is 8 x 8.

    A block that holds pixels of two super-classes or areas goes to the one with more of them; the others' pixels there
    get no label.

    Args:
        affinity: (56, H, W) floats in [0, 1] for `GMIS_OFFSETS`.
        semantic: (C, H, W) class probabilities in [0, 1], channel 0 background.
        settings: tricks and thresholds.
        threads: all cores by default; the result does not depend on it.

    Returns:
        Labels, the class most of an instance's pixels vote for among its objects' channels, and as confidence the mean
        of all (refined) edges inside the instance.

    Raises:
        GroupingError: on maps that hold values outside [0, 1].
        ArgumentError: on maps that do not fit.
    """
    workers = thread_count(threads)
    maps, classes = _check(affinity, semantic, settings, workers)
    parts, groups = partition(classes, settings)
    height, width = parts.shape
    m = settings.window
    blocks = np.zeros((-(-height // m), -(-width // m)), dtype=np.int32)
    members = np.empty_like(parts)
    block_parts(parts, m, blocks, members)
    things = np.array(sorted(c for group in settings.super_classes for c in group), dtype=np.int64)
    sigma = agreement_weights(settings.alpha)
    distances = [distance for stage, _ in settings.stages for distance in stage]
    # edges inside blocks, of which only distances below the window have any, and later those inside regions
    inner = np.zeros((len(distances), 2, blocks.size if m > 1 else 0), dtype=np.float64)
    found: list[Any] = [None] * len(distances)
    waiting = iter(range(len(distances)))

    def collect(_: int) -> None:
        for i in waiting:
            channel = 8 * GMIS_DISTANCES.index(distances[i])
            found[i] = collect_block_edges(
                maps,
                channel,
                distances[i],
                classes,
                things,
                members,
                groups,
                blocks.shape,
                m,
                settings.refine,
                sigma,
                inner[i],
            )

    run_strips(collect, min(workers, len(distances)))
    within = inner.sum(axis=0) if m > 1 else np.zeros((2, blocks.size), dtype=np.float64)
    parent = np.arange(blocks.size, dtype=np.int32)
    if settings.certain is not None:
        for edges in found[: len(settings.stages[0][0])]:
            unite_certain(parent, *edges, quantize_threshold(settings.certain))
    tiles = np.empty(blocks.size, dtype=np.int32)
    order_by_tiles(blocks.shape, tiles)
    edges = tuple(np.empty(0, dtype=array.dtype) for array in found[0])
    joined = 0
    for stage, threshold in settings.stages:
        joined, before = joined + len(stage), joined
        edges = tuple(np.concatenate(arrays) for arrays in zip(edges, *found[before:joined], strict=True))
        left = contract_stage(parent, tiles, *edges, float(quantize_threshold(threshold)), within)
        edges = tuple(array[:left] for array in edges)
    labels = np.empty((height, width), dtype=np.int32)
    sizes, quality, votes = _describe(parent, *edges, within, members, m, classes, things, labels)
    mapping = np.zeros(blocks.size + 1, dtype=np.int32)
    kept = np.flatnonzero(sizes >= settings.min_pixels)
    mapping[kept + 1] = kept + 1
    origin = renumber(labels.reshape(-1), mapping) - 1
    return GroupedInstances(
        labels, things[votes[origin].argmax(axis=1)].astype(np.int32), quality[origin].astype(np.float32)
    )


def agreement_weights(alpha: float) -> NDArray[np.float64]:
    """Give (4097,) what equation 6 makes of an agreement of 0 to 1."""
    weights: NDArray[np.float64] = 2.0 / (1.0 + np.exp(-alpha * np.linspace(0.0, 1.0, 4097))) - 1.0
    return weights


def _check(
    affinity: NDArray[np.floating], semantic: NDArray[np.floating], settings: GraphMergeSettings, workers: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    maps, classes = np.asarray(affinity), np.asarray(semantic)
    if maps.ndim != 3 or len(maps) != len(GMIS_OFFSETS) or 0 in maps.shape or maps.dtype.kind != "f":
        raise ArgumentError(f"expected affinities as floats (56, H, W), got {maps.dtype} {maps.shape}")
    if maps.shape[1] * maps.shape[2] > 1 << 24:
        raise ArgumentError(
            f"expected at most 2**24 pixels, got {maps.shape[1]}x{maps.shape[2]}: cut the image in parts"
        )
    if classes.ndim != 3 or classes.shape[1:] != maps.shape[1:] or classes.dtype.kind != "f":
        raise ArgumentError(f"expected semantics as floats (C, {maps.shape[1]}, {maps.shape[2]}), got {classes.shape}")
    most = max(c for group in settings.super_classes for c in group)
    if most >= len(classes):
        raise ArgumentError(f"expected semantics with channels up to {most}, got {len(classes)} channels")
    maps, classes = np.ascontiguousarray(maps, dtype=np.float32), np.ascontiguousarray(classes, dtype=np.float32)
    for name, values in (("affinities", maps), ("semantics", classes)):
        if not _are_probabilities(values.reshape(-1), workers):
            raise GroupingError(
                f"expected {name} in [0, 1], got {values.min()}..{values.max()}: apply the sigmoid or softmax first"
            )
    return maps, classes


def _are_probabilities(values: NDArray[np.float32], workers: int) -> bool:
    bounds = strip_bounds(values.size, workers)
    bad = [0] * workers

    def look(i: int) -> None:
        bad[i] = count_outside(values[bounds[i] : bounds[i + 1]])

    run_strips(look, workers)
    return not any(bad)


def partition(
    semantic: NDArray[np.float32], settings: GraphMergeSettings
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Give each pixel the part of the image it is grouped in (0: none), and its super-class 1.. (0: background)."""
    table = np.zeros(len(semantic), dtype=np.int64)
    for i, group in enumerate(settings.super_classes):
        table[list(group)] = i + 1
    groups = _super_class(semantic, table, len(settings.super_classes))
    if not settings.exclude_background:
        return np.ones_like(groups), groups
    kinds = groups if settings.partition else (groups > 0).astype(np.int32)
    if not settings.areas:
        return kinds, groups
    parts = np.zeros_like(kinds)
    used = 0
    cell = settings.cell
    rows, columns = -(-kinds.shape[0] // cell), -(-kinds.shape[1] // cell)
    for kind in range(1, int(kinds.max(initial=0)) + 1):
        here = kinds == kind
        padded = np.zeros((rows * cell, columns * cell), dtype=np.bool_)
        padded[: here.shape[0], : here.shape[1]] = here
        cells = np.asarray(padded.reshape(rows, cell, columns, cell).any(axis=(1, 3)), dtype=np.uint8)
        areas, count = label_components(cells)
        spread = np.repeat(np.repeat(areas, cell, axis=0), cell, axis=1)[: here.shape[0], : here.shape[1]]
        parts[here] = spread[here] + used
        used += count
    return parts, groups


@compiled
def _super_class(semantic, table, count):  # type: ignore[no-untyped-def]
    classes, height, width = semantic.shape
    out = np.zeros((height, width), dtype=np.int32)
    sums = np.empty((count + 1, width), dtype=np.float32)
    for y in range(height):
        sums[:] = 0.0
        for c in range(classes):
            group = table[c]
            for x in range(width):
                sums[group, x] += semantic[c, y, x]
        for group in range(1, count + 1):
            for x in range(width):
                if sums[group, x] > sums[0, x]:
                    sums[0, x] = sums[group, x]
                    out[y, x] = group
    return out


@compiled
def _describe(parent, keys, sums, counts, within, members, m, classes, things, labels):  # type: ignore[no-untyped-def]
    """Write labels (first block + 1) and give size, mean inner edge and class votes by first block."""
    n = parent.size
    total = np.zeros(n, dtype=np.float64)
    number = np.zeros(n, dtype=np.float64)
    for b in range(n):
        r = find_root(parent, b)
        total[r] += within[0, b]
        number[r] += within[1, b]
    for e in range(keys.size):
        a = find_root(parent, keys[e] >> 32)
        if a == find_root(parent, keys[e] & 0xFFFFFFFF):
            total[a] += sums[e]
            number[a] += counts[e]
    sizes = np.zeros(n, dtype=np.int64)
    votes = np.zeros((n, things.size), dtype=np.int32)
    height, width = members.shape
    columns = (width + m - 1) // m
    for y in range(height):
        for block in range(columns):
            for x in range(block * m, min(block * m + m, width)):
                if members[y, x] == 0:
                    labels[y, x] = 0
                    continue
                r = find_root(parent, y // m * columns + block)
                labels[y, x] = r + 1
                sizes[r] += 1
                best = 0
                for i in range(1, things.size):
                    if classes[things[i], y, x] > classes[things[best], y, x]:
                        best = i
                votes[r, best] += 1
    quality = np.zeros(n, dtype=np.float64)
    for b in range(n):
        if number[b] > 0:
            quality[b] = total[b] / number[b] / FIXED_POINT_ONE
    return sizes, quality, votes
