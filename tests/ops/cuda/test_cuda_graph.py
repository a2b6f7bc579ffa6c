"""Whole frames on a device: captured in a CUDA graph, replayed with other frames, without allocation on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg import ops
from rtseg.grouping.gaec import gaec
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, label_affinities, street_scene
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.preprocess import PreprocessPlan
from rtseg.ops.cuda.statistics import MeansPlan, StatisticsPlan
from rtseg.ops.cuda.status import check_status

pytestmark = pytest.mark.gpu

SIZE, COARSE, REGIONS = (256, 512), (64, 128), 1 << 13
MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


class LaneFrame:
    """Preprocessing, and coloring to region means, all in fixed buffers."""

    def __init__(self, cupy: Any) -> None:
        self.image = cupy.zeros((*SIZE, 3), "uint8")
        self.input = cupy.zeros((1, 3, *COARSE), "float16")
        self.maps = cupy.zeros((7, *COARSE), "float32")
        self.colors = cupy.zeros(SIZE, "uint8")
        self.components = cupy.zeros(SIZE, "int32")
        self.position = cupy.zeros((2, *SIZE), "float32")
        self.preprocess = PreprocessPlan(SIZE, COARSE, MEAN, STD, dtype="float16")
        self.coloring = ColoringPlan(self.maps.shape, SIZE)
        self.labelling = ComponentsPlan(SIZE)
        self.statistics = StatisticsPlan(SIZE, REGIONS)
        self.means = MeansPlan(self.position.shape, REGIONS)

    def run(self) -> None:
        self.preprocess.run(self.image, self.input)
        self.coloring.run(self.maps, self.colors)
        self.labelling.run(self.colors, self.components)
        self.statistics.run(self.components)
        self.means.run(self.components, self.position)

    def load(self, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng(seed)
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        maps = rng.normal(size=self.maps.shape).astype(np.float32)
        position = rng.normal(size=self.position.shape).astype(np.float32)
        for buffer, values in ((self.image, image), (self.maps, maps), (self.position, position)):
            buffer.set(values)
        return image, maps, position

    def check(self, image: NDArray[np.uint8], maps: NDArray[np.float32], position: NDArray[np.float32]) -> None:
        check_status(self.coloring.status)
        check_status(self.statistics.status)
        check_status(self.means.status)
        colors = ops.upsample_argmax(maps, SIZE)
        components, count = ops.label_components(colors)
        np.testing.assert_array_equal(self.colors.get(), colors)
        np.testing.assert_array_equal(self.components.get(), components)
        assert int(self.labelling.count[0]) == count < REGIONS
        expected = ops.region_statistics(components, count)
        np.testing.assert_array_equal(self.statistics.areas[:count].get(), expected.areas)
        np.testing.assert_array_equal(self.statistics.boxes[:count].get(), expected.boxes)
        np.testing.assert_array_equal(self.statistics.centers[:count].get(), expected.centers)
        means = ops.region_means(components, count, position)
        np.testing.assert_allclose(self.means.means[:count].get(), means, rtol=1e-12, atol=1e-12)
        network_input = ops.preprocess(image, COARSE, MEAN, STD)
        np.testing.assert_allclose(self.input.get(), network_input, atol=1.01 / min(STD), rtol=1e-3)


class InstanceFrame:
    """Affinities to labels in fixed buffers."""

    def __init__(self, cupy: Any) -> None:
        self.affinity = cupy.zeros((2, *SIZE), "float32")
        self.labels = cupy.zeros(SIZE, "int32")
        self.plan = AffinityUnionPlan((2, *SIZE), GRID_OFFSETS, superpixel_threshold=None)

    def run(self) -> None:
        self.plan.run(self.affinity, self.labels)

    def load(self, seed: int) -> tuple[NDArray[np.float32]]:
        affinity = label_affinities(street_scene(seed, SIZE).labels, seed=seed)
        self.affinity.set(affinity)
        return (affinity,)

    def check(self, affinity: NDArray[np.float32]) -> None:
        check_status(self.plan.status)
        np.testing.assert_array_equal(self.labels.get(), gaec(affinity, GRID_OFFSETS))


@pytest.mark.parametrize("kind", [LaneFrame, InstanceFrame])
def test_captured_graph_equals_the_cpu_on_every_frame(kind: type[LaneFrame] | type[InstanceFrame]) -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        frame: Any = kind(cupy)
        truth = frame.load(0)
        frame.run()
        stream.synchronize()
        frame.check(*truth)
        stream.begin_capture()
        frame.run()
        graph = stream.end_capture()
        results = []
        for seed in (1, 2, 1):
            truth = frame.load(seed)
            graph.launch(stream)
            stream.synchronize()
            frame.check(*truth)
            results.append((frame.components if kind is LaneFrame else frame.labels).get())
    assert np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[1])


@pytest.mark.parametrize("kind", [LaneFrame, InstanceFrame])
def test_a_run_allocates_nothing(kind: type[LaneFrame] | type[InstanceFrame]) -> None:
    import cupy

    frame: Any = kind(cupy)
    frame.load(0)
    frame.run()

    def refuse(size: int) -> None:
        raise AssertionError(f"a run allocated {size} bytes")

    with cupy.cuda.using_allocator(refuse):
        frame.run()
    cupy.cuda.get_current_stream().synchronize()
