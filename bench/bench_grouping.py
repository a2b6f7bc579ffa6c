"""Grouping beside its peers, on seeded street scenes: `python -m pytest bench/bench_grouping.py` or, for the table and
the figure of cost against pixels in docs/, `python -m bench.bench_grouping`.

All CPU; one group of benchmarks an aim, every peer in the same group on the same input.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtseg.grouping import (
    GMIS_OFFSETS,
    CascadeLevel,
    GraphMergeSettings,
    affinity_union,
    cascade_gaec,
    gaec,
    graph_merge,
)
from rtseg.grouping.cascade import FOUR_NEIGHBORS
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, NOISE_LEVELS, label_affinities, street_scene
from rtseg.ops.affinities import quantize_affinity

SIZES = ((256, 512), (512, 1024), (1024, 2048))
FRAME = (1024, 2048)
MERGE = GraphMergeSettings(super_classes=((1,), (2,)))


@functools.lru_cache(maxsize=4)
def scene(size, noise, seed=3):
    street = street_scene(seed, size)
    affinity = label_affinities(street.labels, corruption=NOISE_LEVELS[noise], seed=1)
    # the values every method sees are multiples of 2**-24, so that partitions can be compared
    return street, (quantize_affinity(affinity, GRID_OFFSETS)[0] / np.float32(2**24)).astype(np.float32)


def gasp_mean(affinity):
    """bioimage-cpp's GASP with mean linkage on the 4-neighbor grid; building the graph counts, as it does for us."""
    from bioimage_cpp import graph

    grid = graph.grid_graph(affinity.shape[1:])
    weights = np.concatenate([affinity[1, :-1].ravel(), affinity[0, :, :-1].ravel()]).astype(np.float64) - 0.5
    return graph.agglomeration.GaspClusterPolicy(linkage="mean").optimize(grid, weights).reshape(affinity.shape[1:])


supported_union = functools.partial(affinity_union, support=0.95)


def _waterz_affinities(affinity):
    maps = np.zeros((3, 1, *affinity.shape[1:]), np.float32)  # z, y, x; waterz joins a pixel to the one before it
    maps[1, 0, 1:], maps[2, 0, :, 1:] = affinity[1, :-1], affinity[0, :, :-1]
    return maps


def waterz_mean(affinity):
    """waterz with fragments of its own watershed, agglomerated by mean affinity."""
    import waterz

    return next(waterz.agglomerate(_waterz_affinities(affinity), [0.5]))[0].astype(np.int64)


def _boundary(affinity):
    # both pixels of a weak edge are boundary, so that fragments meet in the middle, where the edge is
    boundary = np.zeros(affinity.shape[1:], np.float32)
    right, below = 1.0 - affinity[0, :, :-1], 1.0 - affinity[1, :-1]
    for part, values in (
        (boundary[:, :-1], right), (boundary[:, 1:], right), (boundary[:-1], below), (boundary[1:], below)
    ):  # fmt: skip
        np.maximum(part, values, out=part)
    return boundary


def waterz_watershed(affinity):
    """waterz on fragments of scikit-image's watershed of the boundary map."""
    import waterz
    from skimage.segmentation import watershed

    boundary = _boundary(affinity)
    seeds = cv2.distanceTransform((boundary < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    peaks = (seeds == cv2.dilate(seeds, np.ones((5, 5), np.uint8))) & (seeds > 1)
    _, markers = cv2.connectedComponents(peaks.astype(np.uint8))
    fragments = watershed(boundary, markers).astype(np.uint64)[None]
    return next(waterz.agglomerate(_waterz_affinities(affinity), [0.5], fragments=fragments))[0].astype(np.int64)


def scikit_merge(affinity):
    """scikit-image's region adjacency graph of its watershed fragments, merged by mean boundary (hierarchical)."""
    from skimage.graph import merge_hierarchical, rag_boundary
    from skimage.segmentation import watershed

    boundary = _boundary(affinity).astype(np.float64)
    fragments = watershed(boundary, markers=max(affinity[0].size // 400, 1)).astype(np.int64)

    def weight(graph, gone, kept, other):
        none = {"weight": 0.0, "count": 0}
        a, b = graph[gone].get(other, none), graph[kept].get(other, none)
        count = a["count"] + b["count"]
        return {"count": count, "weight": (a["count"] * a["weight"] + b["count"] * b["weight"]) / count}

    graph = rag_boundary(fragments, boundary)
    return merge_hierarchical(
        fragments,
        graph,
        thresh=0.5,
        rag_copy=False,
        in_place_merge=True,
        merge_func=lambda *_: None,
        weight_func=weight,
    )


def mean_iou(labels, truth):
    """Mean over true regions of the best overlap with any label."""
    labels = np.unique(labels, return_inverse=True)[1].reshape(truth.shape)
    pairs, both = np.unique(truth.astype(np.int64) * (labels.max() + 1) + labels, return_counts=True)
    mine, its = pairs % (labels.max() + 1), pairs // (labels.max() + 1)
    union = np.bincount(labels.ravel())[mine] + np.bincount(truth.ravel())[its] - both
    best = np.zeros(truth.max() + 1)
    np.maximum.at(best, its, both / union)
    return float(best[np.unique(truth)].mean())


def same_partition(a, b):
    a, b = np.unique(a, return_inverse=True)[1].ravel(), np.unique(b, return_inverse=True)[1].ravel()
    return len(np.unique(a.astype(np.int64) * (b.max() + 1) + b)) == a.max() + 1 == b.max() + 1


@functools.lru_cache(maxsize=2)
def cascade_levels(size=FRAME, noise="medium", embedding=32, classes=9, seed=3):
    """Maps of a street at strides 32, 16, 8 and 4: 4 affinities, 9 classes and 32 embedding channels each."""
    street = street_scene(seed, size)
    objects = street.objects
    kinds = np.concatenate([[0], street.classes[street.classes > 0]])
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(objects.max() + 1, embedding)).astype(np.float32)
    levels = []
    for stride in (32, 16, 8, 4):
        coarse = np.ascontiguousarray(objects[stride // 2 :: stride, stride // 2 :: stride])
        affinity = label_affinities(coarse, FOUR_NEIGHBORS, NOISE_LEVELS[noise], seed=stride)
        logits = np.eye(classes, dtype=np.float32)[kinds[coarse]].transpose(2, 0, 1) * 4
        logits = np.exp(logits + rng.standard_normal(logits.shape, dtype=np.float32) * 0.5)
        vectors = (
            codes[coarse].transpose(2, 0, 1) + rng.standard_normal((embedding, *coarse.shape), dtype=np.float32) * 0.1
        )
        levels.append(
            CascadeLevel(affinity, logits / logits.sum(axis=0), np.ascontiguousarray(vectors, np.float32), stride)
        )
    return tuple(levels)


@functools.lru_cache(maxsize=1)
def merge_maps(size=(256, 512), noise="medium", classes=3, seed=3):
    street = street_scene(seed, size)
    objects = street.objects
    kinds = np.concatenate([[0], street.classes[street.classes > 0]])
    affinity = label_affinities(objects, GMIS_OFFSETS, NOISE_LEVELS[noise], seed=1)
    logits = np.eye(classes, dtype=np.float32)[kinds[objects]].transpose(2, 0, 1) * 5
    return affinity, (np.exp(logits) / np.exp(logits).sum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("noise", NOISE_LEVELS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("method", ["gaec, one thread", "gaec, two threads", "bioimage-cpp GASP mean"])
def test_gaec(benchmark, size, noise, method):
    benchmark.group = f"gaec mean {size[0]}x{size[1]} {noise} noise"
    _, affinity = scene(size, noise)
    threads = 2 if "two" in method else 1
    work = (
        functools.partial(gaec, affinity, GRID_OFFSETS, threads=threads)
        if "gaec" in method
        else functools.partial(gasp_mean, affinity)
    )
    if "gaec" in method:
        work()
    labels = benchmark.pedantic(work, rounds=3, iterations=1)
    if "gaec" not in method:
        assert same_partition(labels, gaec(affinity, GRID_OFFSETS))


@pytest.mark.parametrize("noise", NOISE_LEVELS)
@pytest.mark.parametrize(
    "method",
    [affinity_union, supported_union, waterz_mean, waterz_watershed],
    ids=["affinity_union", "affinity_union, support 0.95", "waterz", "waterz with watershed fragments"],
)
def test_affinity_union(benchmark, noise, method):
    benchmark.group = f"affinity_union 1024x2048 {noise} noise"
    street, affinity = scene(FRAME, noise)
    ours = method in (affinity_union, supported_union)
    work = functools.partial(method, affinity, *([GRID_OFFSETS] if ours else []))
    work()
    labels = benchmark.pedantic(work, rounds=5 if ours else 2, iterations=1)
    benchmark.extra_info["mean IoU"] = mean_iou(labels, street.labels)
    benchmark.extra_info["mean IoU of exact GAEC"] = mean_iou(gaec(affinity, GRID_OFFSETS), street.labels)


@pytest.mark.parametrize("background", ["exclude", "reopen"])
def test_cascade(benchmark, background):
    benchmark.group = "cascade_gaec strides 32 to 4 of 1024x2048"
    levels = cascade_levels()
    cascade_gaec(levels, background)
    benchmark.pedantic(cascade_gaec, (levels, background), rounds=10 if background == "exclude" else 3)


def test_graph_merge(benchmark):
    benchmark.group = "graph_merge 56x256x512, 2x2 forced merge"
    affinity, semantic = merge_maps()
    graph_merge(affinity, semantic, MERGE)
    benchmark.pedantic(graph_merge, (affinity, semantic, MERGE), rounds=10)


def best_of(work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Smallest time of some rounds, in milliseconds."""
    times = []
    for _ in range(rounds):
        start = clock()
        work()
        times.append((clock() - start) * 1e3)
    return min(times)


def cost_against_pixels(path: Path, clock: Callable[[], float]) -> None:
    """Measure 0.1 to 8 megapixels, fit time = c * pixels**e and plot it."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    sizes = [(n, 2 * n) for n in (224, 320, 512, 724, 1024, 1448, 2000)]
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for name, work in (
        ("gaec mean, 1 thread", lambda affinity: gaec(affinity, GRID_OFFSETS, threads=1)),
        ("affinity_union 0.98, 1 thread", lambda affinity: affinity_union(affinity, GRID_OFFSETS, threads=1)),
    ):
        pixels, times = [], []
        for size in sizes:
            _, affinity = scene(size, "medium")
            pixels.append(size[0] * size[1] / 1e6)
            times.append(best_of(lambda maps=affinity, call=work: call(maps), 2, clock))
        exponent, offset = np.polyfit(np.log(pixels), np.log(times), 1)
        print(
            f"{name}: {' '.join(f'{t:.0f}' for t in times)} ms at {' '.join(f'{p:.2f}' for p in pixels)} Mpx, "
            f"exponent {exponent:.2f}",
            flush=True,
        )
        (line,) = axes.loglog(pixels, times, "o", label=f"{name}: pixels^{exponent:.2f}")
        axes.loglog(pixels, np.exp(offset) * np.array(pixels) ** exponent, color=line.get_color(), alpha=0.5)
    axes.set_xlabel("megapixels")
    axes.set_ylabel("CPU milliseconds")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Print the table of docs/grouping.md and write its figure; CPU time, so that a busy machine matters less."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/grouping_cost.svg"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wall", action="store_true", help="wall time instead of CPU time")
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.wall else time.process_time
    for size in SIZES:
        for noise in NOISE_LEVELS:
            street, affinity = scene(size, noise)
            rows = {"peer": [], "one": [], "two": []}
            for _ in range(max(1, arguments.rounds if size != FRAME else 1)):  # interleaved, as load comes and goes
                rows["peer"].append(best_of(lambda maps=affinity: gasp_mean(maps), 1, clock))
                rows["one"].append(best_of(lambda maps=affinity: gaec(maps, GRID_OFFSETS, threads=1), 2, clock))
                rows["two"].append(best_of(lambda maps=affinity: gaec(maps, GRID_OFFSETS, threads=2), 2))
            peer, one, two = (min(rows[name]) for name in ("peer", "one", "two"))
            equal = same_partition(gasp_mean(affinity), gaec(affinity, GRID_OFFSETS))
            print(
                f"gaec {size[0]}x{size[1]} {noise}: bioimage-cpp {peer:.0f} ms, one thread {one:.0f} ms "
                f"({peer / one:.1f}x), two threads {two:.0f} ms wall, same partition {equal}",
                flush=True,
            )
    for noise in NOISE_LEVELS:
        street, affinity = scene(FRAME, noise)
        exact = mean_iou(gaec(affinity, GRID_OFFSETS), street.labels)
        print(f"1024x2048 {noise}: exact GAEC mean IoU {exact:.3f}", flush=True)
        for name, work in (
            ("affinity_union", functools.partial(affinity_union, affinity, GRID_OFFSETS)),
            ("affinity_union, support 0.95", functools.partial(supported_union, affinity, GRID_OFFSETS)),
            ("affinity_union, one thread", functools.partial(affinity_union, affinity, GRID_OFFSETS, threads=1)),
            ("waterz", functools.partial(waterz_mean, affinity)),
            ("waterz with watershed fragments", functools.partial(waterz_watershed, affinity)),
        ):
            labels = work()
            took = best_of(work, 5 if "union" in name else 1, clock)
            print(f"  {name}: {took:.0f} ms CPU, mean IoU {mean_iou(labels, street.labels):.3f}", flush=True)
    small_street, small = scene((256, 512), "medium")
    took = best_of(lambda: scikit_merge(small), 1, clock)
    quality = mean_iou(scikit_merge(small), small_street.labels)
    print(f"scikit-image RAG merge 256x512 medium: {took:.0f} ms, mean IoU {quality:.3f}", flush=True)
    levels = cascade_levels()
    for background in ("exclude", "reopen"):
        cascade_gaec(levels, background)
        rounds = [best_of(lambda kind=background: cascade_gaec(levels, kind), 1, clock) for _ in range(7)]
        found = len(cascade_gaec(levels, background))
        print(
            f"cascade_gaec {background}: {min(rounds):.1f} ms "
            f"(median {statistics.median(rounds):.1f}), {found} instances",
            flush=True,
        )
    affinity, semantic = merge_maps()
    graph_merge(affinity, semantic, MERGE)
    took = best_of(lambda: graph_merge(affinity, semantic, MERGE), 7, clock)
    print(f"graph_merge 56x256x512: {took:.1f} ms", flush=True)
    arguments.figure.parent.mkdir(parents=True, exist_ok=True)
    cost_against_pixels(arguments.figure, clock)


if __name__ == "__main__":
    main()
