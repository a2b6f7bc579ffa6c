"""Runs every kernel once on small inputs: ``race_check.py LIBRARY [FAULTY_KERNEL]``, with libtsan preloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from shim_build import ShimLauncher

from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.enlarging import EnlargingPlan
from rtseg.ops.cuda.graph_merge import GraphMergePlan
from rtseg.ops.cuda.mask_nms import MaskNmsPlan
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.preprocess import PreprocessPlan
from rtseg.ops.cuda.regions import AffinityJoinPlan, ColorJoinPlan, RegionTable
from rtseg.ops.cuda.runs import RunsPlan
from rtseg.ops.cuda.solo import SoloPlan
from rtseg.ops.cuda.statistics import MeansPlan, StatisticsPlan

SIZE = (17, 33)  # four tiles, the last ones hardly begun


def run_all(launcher: ShimLauncher) -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 5, 10)).astype(np.float32)
    colors, components = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.int32)
    ColoringPlan(maps.shape, SIZE, launcher).run(maps, colors)
    ComponentsPlan(SIZE, 8, launcher).run(rng.integers(0, 3, SIZE, np.uint8), components)
    RunsPlan(SIZE, launcher=launcher).run(colors, components)
    StatisticsPlan(SIZE, 256, launcher).run(components)
    values = rng.normal(size=(2, *SIZE)).astype(np.float32)
    MeansPlan(values.shape, 128, launcher).run(components, values)
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    plan = PreprocessPlan(SIZE, (8, 16), (0, 0, 0), (1, 1, 1), launcher=launcher)
    plan.run(image, np.zeros((1, 3, 8, 16), np.float32))
    affinity = rng.random((2, *SIZE)).astype(np.float32) ** np.float32(0.1)
    labels = np.zeros(SIZE, np.int32)
    room = {"regions": 128, "edges": 256, "wide_rounds": 1}
    merging = AffinityUnionPlan(affinity.shape, ((0, 1), (1, 0)), 0.9, **room, launcher=launcher)
    merging.run(affinity, labels)
    assert merging.status[0] == 0
    solo = SoloPlan([(5, 10, 16), (2, 5, 32)], (3, 20, 40), candidates=8, launcher=launcher)
    levels = [rng.normal(size=(9, h, w)).astype(np.float32) for h, w in ((5, 10), (2, 5))]
    picked, features = np.zeros((20, 40), np.int32), rng.normal(size=(3, 20, 40)).astype(np.float32)
    solo.run([(level[0].copy(), level[1:].copy()) for level in levels], features, picked)
    assert solo.status[0] == 0 < solo.count[0]
    table = RegionTable((3, *SIZE), 2, 1024, guide="best", launcher=launcher)
    logits = rng.normal(size=(3, *SIZE)).astype(np.float32)
    offsets = rng.normal(size=(2, *SIZE)).astype(np.float32)
    count = np.full(1, components.max(), np.int32)
    for join in (
        ColorJoinPlan(table, 1024, 9.0, 2, 16, 300.0, launcher),
        AffinityJoinPlan(table, 1024, (3, 2), (0.3, 0.5), 2, 2, 64, launcher),
    ):
        table.measure(components, logits, offsets, 4)
        join.run(count)
    table.rename(components)
    EnlargingPlan((2, *SIZE), (30, 50), None, launcher).run(components, table.guide, np.zeros((30, 50), np.uint16))
    graph = GraphMergePlan((3, *SIZE), [((1, 2), 0.5)], [[1], [2]], 2, None, True, wide_rounds=1, launcher=launcher)
    graph.run(rng.random((56, *SIZE)).astype(np.float32), logits, labels)
    assert table.status[0] == graph.status[0] == 0
    linear = MaskNmsPlan(20, 8 * 32, "linear", launcher=launcher)  # more masks than a tile holds, in few blocks
    linear.pack((rng.random((20, 8, 32)) < 0.5).astype(np.uint8))
    linear.run(np.full(1, 20, np.int32))


if __name__ == "__main__":
    shim = ShimLauncher(Path(sys.argv[1]), seed=5)
    if len(sys.argv) > 2:
        shim.launch("faulty", sys.argv[2], (1,), (64,), np.zeros(64, np.int32), np.zeros(64, np.int32))
    else:
        run_all(shim)
