"""The kernels of a card beside their twins on the CPU, on frames and maps drawn here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.grouping import GMIS_OFFSETS, GraphMergeSettings, SoloLevel, SoloSettings, affinity_union, graph_merge
from rtseg.grouping.graph_merge import agreement_weights
from rtseg.grouping.solo import solo_instances, solo_masks
from rtseg.instances.upsampling import upsample_labels
from rtseg.ops import label_components, label_runs, preprocess, region_statistics, upsample_argmax
from rtseg.runtime.device import Device

_MAP, _FRAME = (24, 40), (96, 160)
_OFFSETS = ((0, 1), (1, 0), (0, -1), (-1, 0))


class _Bench:
    """Arrays to the device and back."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.launcher = device.launcher
        self.stream = device.stream()

    def put(self, array: NDArray[Any]) -> Any:
        return self.launcher.xp.asarray(np.ascontiguousarray(array))

    def room(self, shape: tuple[int, ...], dtype: str) -> Any:
        return self.launcher.xp.zeros(shape, dtype)

    def get(self, array: Any) -> NDArray[Any]:
        host = self._device.host_array(tuple(array.shape), str(array.dtype))
        self._device.download(array, host, self.stream)
        self._device.wait(self.stream)
        return np.array(host)


def _blocks(rng: np.random.Generator, size: tuple[int, int], kinds: int) -> NDArray[np.uint8]:
    coarse = rng.integers(0, kinds, (size[0] // 4 + 1, size[1] // 4 + 1), np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((4, 4), np.uint8))[: size[0], : size[1]])


def _maps(rng: np.random.Generator, channels: int) -> NDArray[np.float32]:
    blocks = _blocks(rng, _MAP, channels)
    noise = rng.normal(0, 1, (channels, *_MAP))
    return np.asarray(noise + 3.0 * (blocks == np.arange(channels)[:, None, None]), np.float32)


def _affinities(rng: np.random.Generator, channels: int) -> NDArray[np.float32]:
    return np.asarray(rng.random((channels, *_MAP)) ** 0.3, np.float32)


def _preprocess(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.preprocess import PreprocessPlan

    image = rng.integers(0, 256, (*_FRAME, 3), np.uint8)
    mean, std = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    out = bench.room((1, 3, *_MAP), "float32")
    PreprocessPlan(_FRAME, _MAP, mean, std, launcher=bench.launcher).run(bench.put(image), out)
    # One step of 255 where a tie is rounded the other way is none.
    return int((np.abs(bench.get(out) - preprocess(image, _MAP, mean, std)) > 1.1 / 128).sum())


def _coloring(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.coloring import ColoringPlan

    maps, out = _maps(rng, 6), bench.room(_FRAME, "uint8")
    ColoringPlan(maps.shape, _FRAME, bench.launcher).run(bench.put(maps), out)
    return int((bench.get(out) != upsample_argmax(maps, _FRAME)).sum())


def _components(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.components import ComponentsPlan
    from rtseg.ops.cuda.runs import RunsPlan
    from rtseg.ops.cuda.statistics import StatisticsPlan

    labels = _blocks(rng, _FRAME, 3)
    given, out = bench.put(labels), bench.room(_FRAME, "int32")
    ComponentsPlan(_FRAME, 8, bench.launcher).run(given, out)
    truth, count = label_components(labels, 8)
    wrong = int((bench.get(out) != truth).sum())
    runs = RunsPlan(_FRAME, _FRAME[0] * _FRAME[1], launcher=bench.launcher)
    runs.run(given, out)
    found, expected = runs.unpack(bench.get(runs.packed)), label_runs(labels, 8)
    wrong += found is None or any(
        not np.array_equal(getattr(found[0], name), getattr(expected, name))
        for name in ("starts", "ends", "rows", "components")
    )
    plan = StatisticsPlan(_FRAME, count, bench.launcher)
    plan.run(out)
    measured = region_statistics(truth, count)
    for name in ("areas", "boxes", "centers"):
        wrong += int((bench.get(getattr(plan, name)) != getattr(measured, name)).sum())
    return wrong


def _enlarging(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.enlarging import EnlargingPlan

    labels, guide = _blocks(rng, _MAP, 5).astype(np.int32), _maps(rng, 2)
    plan = EnlargingPlan(guide.shape, _FRAME, None, bench.launcher)
    plan.run(bench.put(labels), bench.put(guide), bench.room(_FRAME, "uint16"))
    return int((bench.get(plan.labels) != upsample_labels(labels, guide, _FRAME)).sum())


def _union(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.merging import AffinityUnionPlan

    affinity, inside = _affinities(rng, 4), _blocks(rng, _MAP, 3) > 0
    plan = AffinityUnionPlan(affinity.shape, _OFFSETS, 0.95, 0.6, wide_rounds=2, launcher=bench.launcher)
    out = bench.room(_MAP, "int32")
    plan.run(bench.put(affinity), out, bench.put(inside))
    return int((bench.get(out) != affinity_union(affinity, _OFFSETS, 0.95, 0.6, inside)).sum())


def _graph_merge(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.graph_merge import GraphMergePlan

    affinity, logits = _affinities(rng, len(GMIS_OFFSETS)), _maps(rng, 4)
    classes: tuple[tuple[int, ...], ...] = ((1, 2), (3,))
    settings = GraphMergeSettings(
        stages=(((1, 2, 4), 0.6), ((8, 16), 0.45)), super_classes=classes, window=1, areas=False, min_pixels=2
    )
    weights = agreement_weights(settings.alpha)
    plan = GraphMergePlan(logits.shape, settings.stages, classes, 2, weights, True, launcher=bench.launcher)
    out = bench.room(_MAP, "int32")
    plan.run(bench.put(affinity), bench.put(logits), out)
    shares = np.exp(logits - logits.max(axis=0))
    return int((bench.get(out) != graph_merge(affinity, shares / shares.sum(axis=0), settings).labels).sum())


def _solo(bench: _Bench, rng: np.random.Generator) -> int:
    from rtseg.ops.cuda.solo import SoloPlan

    sides = ((_MAP[0] // 2, _MAP[1] // 2, 8), (_MAP[0] // 4, _MAP[1] // 4, 16))
    features = rng.normal(0, 1, (3, *_MAP)).astype(np.float32)
    levels = [
        SoloLevel(rng.normal(0, 1, (h, w)).astype(np.float32), rng.normal(0, 1, (8, h, w)).astype(np.float32), stride)
        for h, w, stride in sides
    ]
    settings = SoloSettings(candidates=40)
    chosen: dict[str, Any] = settings.model_dump()
    plan, out = SoloPlan(list(sides), features.shape, **chosen, launcher=bench.launcher), bench.room(_MAP, "int32")
    plan.run([(bench.put(level.cate), bench.put(level.kernel)) for level in levels], bench.put(features), out)
    truth = solo_instances(solo_masks(levels, features, settings), settings)
    return int((bench.get(out) != truth.labels).sum())


TWINS: dict[str, Callable[[_Bench, np.random.Generator], int]] = {
    "preprocess": _preprocess,
    "coloring": _coloring,
    "components, runs, statistics": _components,
    "enlarging": _enlarging,
    "affinity union": _union,
    "graph merge": _graph_merge,
    "SOLO, mask NMS": _solo,
}
"""By name, how many values a kernel gives that its twin does not."""


def compare_kernels(device: Device, seeds: int = 3) -> dict[str, int]:
    """Run every kernel and its twin on the CPU on the same values; give how many results differ, by kernel."""
    bench = _Bench(device)
    with device.use(bench.stream):
        return {
            name: sum(twin(bench, np.random.default_rng(seed)) for seed in range(seeds)) for name, twin in TWINS.items()
        }
