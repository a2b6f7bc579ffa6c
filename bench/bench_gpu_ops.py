"""The CUDA ops beside the time that their bytes take at the card's copy bandwidth, and beside what CuPy offers.

``pytest bench/bench_gpu_ops.py``: skips, saying so, without a CUDA device. Every op is captured in a CUDA graph, and
its time on the device comes from CUDA events around a replay; the table's own columns add the launch and the wait on
the host. In `extra_info` (``--benchmark-json``): `device_ms`, the least of the replays; `floor_ms`, the bytes that must
be read and written once at the bandwidth of a copy on this card, in this run; and their ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, label_affinities, street_scene
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.preprocess import PreprocessPlan
from rtseg.ops.cuda.solo import SoloPlan
from rtseg.ops.cuda.statistics import MeansPlan, StatisticsPlan
from rtseg.ops.cuda.status import check_status

SIZE = (1024, 2048)
PIXELS = SIZE[0] * SIZE[1]
COARSE = (SIZE[0] // 4, SIZE[1] // 4)
CHANNELS = 9  # eight colors and the background
REGIONS = 1 << 16


@pytest.fixture(scope="module")
def cupy() -> Any:
    package = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        package.cuda.runtime.getDeviceCount()
    except package.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    with package.cuda.Stream(non_blocking=True):
        yield package


def device_times(cupy: Any, work: Callable[[], object], repeats: int = 50) -> list[float]:
    """Milliseconds on the device of each of `repeats` calls, after two to warm up."""
    for _ in range(2):
        work()
    pairs = []
    for _ in range(repeats):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        work()
        end.record()
        pairs.append((begin, end))
    pairs[-1][1].synchronize()
    return [cupy.cuda.get_elapsed_time(begin, end) for begin, end in pairs]


@pytest.fixture(scope="module")
def bandwidth(cupy: Any) -> float:
    """Bytes a millisecond of a copy that exceeds every cache, reading and writing counted."""
    source = cupy.zeros(1 << 28, "uint8")
    target = cupy.empty_like(source)
    return 2 * source.nbytes / min(device_times(cupy, lambda: cupy.copyto(target, source)))


def measure(
    benchmark: BenchmarkFixture,
    cupy: Any,
    bandwidth: float,
    work: Callable[[], object],
    moved: int,
    capture: bool = True,
) -> None:
    stream = cupy.cuda.get_current_stream()
    work()
    stream.synchronize()
    if capture:
        stream.begin_capture()
        work()
        graph = stream.end_capture()
        replay: Callable[[], object] = lambda: graph.launch(stream)  # noqa: E731
    else:
        replay = work
    times = device_times(cupy, replay)
    floor = moved / bandwidth
    benchmark.extra_info.update(
        device_ms=min(times),
        device_ms_median=float(np.median(times)),
        floor_ms=floor,
        ratio=min(times) / floor,
        device=cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode(),
    )

    def whole() -> None:
        replay()
        stream.synchronize()

    benchmark.pedantic(whole, rounds=50, warmup_rounds=3)


def street_maps(cupy: Any) -> Any:
    """Logits whose winners are the street's regions, colored at random."""
    rng = np.random.default_rng(0)
    scene = street_scene(0, COARSE)
    colors = rng.integers(0, CHANNELS, len(scene.classes) + 1)[scene.labels]
    maps = rng.normal(size=(CHANNELS, *COARSE)) + 4.0 * (np.arange(CHANNELS)[:, None, None] == colors)
    return cupy.asarray(maps.astype(np.float32))


def colored(cupy: Any) -> Any:
    maps = street_maps(cupy)
    colors = cupy.empty(SIZE, "uint8")
    ColoringPlan(maps.shape, SIZE).run(maps, colors)
    return colors


def test_coloring(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    maps, out = street_maps(cupy), cupy.empty(SIZE, "uint8")
    plan = ColoringPlan(maps.shape, SIZE)
    measure(benchmark, cupy, bandwidth, lambda: plan.run(maps, out), maps.nbytes + out.nbytes)
    check_status(plan.status)


def test_coloring_with_cupy(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    from cupyx.scipy import ndimage

    maps = street_maps(cupy)
    zoom = (1, 4, 4)

    def work() -> Any:
        return ndimage.zoom(maps, zoom, order=1, mode="nearest", grid_mode=True).argmax(0)

    measure(benchmark, cupy, bandwidth, work, maps.nbytes + PIXELS, capture=False)


def test_components(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    colors, out = colored(cupy), cupy.empty(SIZE, "int32")
    plan = ComponentsPlan(SIZE)
    measure(benchmark, cupy, bandwidth, lambda: plan.run(colors, out), colors.nbytes + out.nbytes)
    benchmark.extra_info["components"] = int(plan.count[0])


def test_components_with_cupy(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    """cupyx labels binary images only: one pass a color."""
    from cupyx.scipy import ndimage

    colors = colored(cupy)
    corners = cupy.ones((3, 3), "int32")

    def work() -> None:
        for color in range(1, CHANNELS):
            ndimage.label(colors == color, corners)

    measure(benchmark, cupy, bandwidth, work, 5 * PIXELS, capture=False)


def test_statistics(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    components = cupy.empty(SIZE, "int32")
    ComponentsPlan(SIZE).run(colored(cupy), components)
    plan = StatisticsPlan(SIZE, REGIONS)
    measure(benchmark, cupy, bandwidth, lambda: plan.run(components), components.nbytes)
    check_status(plan.status)


def test_areas_alone_with_cupy(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    components = cupy.empty(SIZE, "int32")
    ComponentsPlan(SIZE).run(colored(cupy), components)
    measure(
        benchmark,
        cupy,
        bandwidth,
        lambda: cupy.bincount(components.ravel(), minlength=REGIONS),
        components.nbytes,
        capture=False,
    )


def test_means_of_two_channels(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    components = cupy.empty(SIZE, "int32")
    ComponentsPlan(SIZE).run(colored(cupy), components)
    maps = cupy.zeros((2, *SIZE), "float32")
    plan = MeansPlan(maps.shape, REGIONS)
    measure(benchmark, cupy, bandwidth, lambda: plan.run(components, maps), components.nbytes + maps.nbytes)


def test_coloring_components_and_statistics(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float) -> None:
    """Aim: 0.3 ms."""
    maps = street_maps(cupy)
    colors, components = cupy.empty(SIZE, "uint8"), cupy.empty(SIZE, "int32")
    coloring, labelling, statistics = (
        ColoringPlan(maps.shape, SIZE),
        ComponentsPlan(SIZE),
        StatisticsPlan(SIZE, REGIONS),
    )

    def work() -> None:
        coloring.run(maps, colors)
        labelling.run(colors, components)
        statistics.run(components)

    measure(benchmark, cupy, bandwidth, work, maps.nbytes + 2 * colors.nbytes + 2 * components.nbytes)


@pytest.mark.parametrize("encoding", ["bgr8", "yuv422"])
def test_preprocessing(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float, encoding: str) -> None:
    size = (288, 512)
    image = cupy.zeros((720, 1280 * (3 if encoding == "bgr8" else 2)), "uint8")
    out = cupy.empty((1, 3, *size), "float16")
    plan = PreprocessPlan((720, 1280), size, (120, 120, 120), (60, 60, 60), encoding=encoding, dtype="float16")
    measure(benchmark, cupy, bandwidth, lambda: plan.run(image, out), image.nbytes + out.nbytes)


@pytest.mark.parametrize("level", ["low", "medium", "high"])
@pytest.mark.parametrize("size", [(256, 512), (1024, 2048)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_affinity_union(
    benchmark: BenchmarkFixture, cupy: Any, bandwidth: float, size: tuple[int, int], level: str
) -> None:
    """Aims: 1 ms at 256x512, 3 ms at 1024x2048."""
    from rtseg.lab.data.affinity_scenes import NOISE_LEVELS

    affinity = cupy.asarray(label_affinities(street_scene(0, size).labels, GRID_OFFSETS, NOISE_LEVELS[level]))
    labels = cupy.empty(size, "int32")
    plan = AffinityUnionPlan(affinity.shape, GRID_OFFSETS)
    measure(benchmark, cupy, bandwidth, lambda: plan.run(affinity, labels), affinity.nbytes + labels.nbytes)
    check_status(plan.status)
    benchmark.extra_info.update(superpixels=int(plan.superpixel_count[0]), regions=int(plan.count[0]))


@pytest.mark.parametrize("nms", ["matrix", "fast"])
def test_solo_decoding(benchmark: BenchmarkFixture, cupy: Any, bandwidth: float, nms: str) -> None:
    """Aim: 1 ms at 1024x2048."""
    from bench.bench_solo import street_maps as solo_maps

    levels, features = solo_maps(SIZE)
    maps = [(cupy.asarray(level.cate), cupy.asarray(level.kernel)) for level in levels]
    masks, labels = cupy.asarray(features), cupy.empty(COARSE, "int32")
    plan = SoloPlan([(*level.cate.shape, level.stride) for level in levels], features.shape, nms=nms)
    moved = masks.nbytes + labels.nbytes + sum(cate.nbytes + kernel.nbytes for cate, kernel in maps)
    measure(benchmark, cupy, bandwidth, lambda: plan.run(maps, masks, labels), moved)
    check_status(plan.status)
    benchmark.extra_info["instances"] = int(plan.count[0])
