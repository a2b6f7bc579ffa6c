"""The path of a frame on a real card: the lanes of the CPU, one graph, and faults that the driver itself raises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rtseg.errors import RtsegError
from rtseg.frame import Frame
from rtseg.lab.render import Drive
from rtseg.loading import load
from rtseg.media import raw_image
from rtseg.results import Instances, Lanes
from rtseg.runtime import Pipeline, bundled_models
from rtseg.runtime.backends import available_backends
from rtseg.runtime.device import CudaDevice
from rtseg.runtime.gpu.frame import STAGES
from rtseg.runtime.gpu.path import DevicePath
from tests.instance_networks import paint, write_instance_model
from tests.threshold_network import two_lane_road, write_threshold_model

pytestmark = pytest.mark.gpu

CAPTURED = {"tensorrt", "torch"}


@cache
def _open(name: str, device: str = "cuda") -> Pipeline:
    """lanes-lite in float, so that CPU and device compute the same network."""
    return load("lanes-lite", device=device, backend=name, network="model-fp32.onnx")


@pytest.fixture(params=available_backends("cuda"))
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend that opens on this card; TensorRT for RTX, for one, does not on Hopper."""
    name = str(request.param)
    try:
        _open(name)
    except RtsegError as error:
        pytest.skip(f"{name} does not open here: {error}")
    return name


@pytest.fixture(scope="module")
def drive() -> list[Frame]:
    return [Frame(road.image, stamp=i * 66_000_000) for i, road in enumerate(Drive(3, 0.6, 15.0, (360, 640)))]


def _path(pipeline: Pipeline) -> DevicePath:
    path = pipeline._path
    assert isinstance(path, DevicePath)
    return path


def _lanes(result: Any) -> Lanes:
    assert isinstance(result, Lanes)
    return result


def test_a_backend_opens_on_this_card() -> None:
    assert load("lanes-lite").backend["device"].startswith("cuda:0")


def test_lanes_are_those_of_the_cpu(backend: str, drive: list[Frame]) -> None:
    pipeline, host = _open(backend), _open("onnxruntime", "cpu")
    pipeline.reset()
    host.reset()
    found, alike, pixels = 0, 0, 0
    for frame in drive:
        here, there = _lanes(pipeline(frame)), _lanes(host(frame))
        assert abs(len(here) - len(there)) <= 1  # half precision may tip a faint line
        found += len(there)
        alike += int(((here.mask > 0) == (there.mask > 0)).sum())
        pixels += here.mask.size
    assert found > len(drive)
    assert alike / pixels > 0.995
    assert pipeline.fallbacks == []


def test_simple_lanes_are_exactly_those_of_the_cpu(backend: str, tmp_path: Path) -> None:
    folder = write_threshold_model(tmp_path / "thresholds")
    pipeline, host = load(folder, device="cuda", backend=backend), load(folder, device="cpu")
    for shift in range(0, 12, 3):
        image = np.roll(two_lane_road(), shift, axis=1)
        here, there = _lanes(pipeline(image)), _lanes(host(image))
        np.testing.assert_array_equal(here.ids, there.ids)
        assert (here.mask == there.mask).mean() > 0.998
        for line, other in zip(here.polylines, there.polylines, strict=True):
            rows = np.intersect1d(line[:, 1], other[:, 1])
            assert len(rows) > 60
            x = [np.interp(rows, points[:, 1], points[:, 0]) for points in (line, other)]
            np.testing.assert_allclose(*x, atol=1.0)


@pytest.mark.parametrize("method", ["affinity_union", "cascade_gaec"])
def test_simple_instances_are_those_of_the_cpu(backend: str, tmp_path: Path, method: str) -> None:
    folder = write_instance_model(tmp_path / "blocks", method)
    try:
        pipeline = load(folder, device="cuda", backend=backend)
    except RtsegError as error:
        pytest.skip(f"{backend} does not open this network: {error}")
    host = load(folder, device="cpu", backend="onnxruntime")
    for shift in (0, 4, 8):
        image, _ = paint([(0, 0, (8 + shift, 8, 40 + shift, 40)), (1, 1, (84, 20, 120, 56))])
        here, there = pipeline(image), host(image)
        assert isinstance(here, Instances)
        assert isinstance(there, Instances)
        assert len(there) == 2
        np.testing.assert_array_equal(here.class_ids, there.class_ids)
        np.testing.assert_array_equal(here.ids, there.ids)
        assert (here.labels == there.labels).mean() > 0.995
    assert pipeline.fallbacks == []


@pytest.mark.parametrize("name", bundled_models())
def test_every_bundled_model_runs_on_the_card(name: str, drive: list[Frame]) -> None:
    pipeline = load(name)
    results = [pipeline(frame) for frame in drive[:3]]
    assert pipeline.backend["device"].startswith("cuda:0"), pipeline.fallbacks
    for result in results:
        shape = (result.mask if isinstance(result, Lanes) else result.labels).shape
        assert shape == drive[0].image.shape[:2]


def test_the_step_is_one_graph(backend: str, drive: list[Frame]) -> None:
    pipeline = _open(backend)
    pipeline(drive[0])
    assert (pipeline.backend["graph"] == "captured") == (backend in CAPTURED), pipeline.backend


def test_another_frame_gives_other_masks_and_the_same_the_same(backend: str, drive: list[Frame]) -> None:
    pipeline, masks = _open(backend), []
    for frame in (drive[0], drive[-1], drive[0]):
        pipeline.reset()
        masks.append(_lanes(pipeline(frame)).mask)
    np.testing.assert_array_equal(masks[0], masks[2])
    assert not np.array_equal(masks[0], masks[1])


def test_a_stream_gives_what_single_calls_give(backend: str, drive: list[Frame]) -> None:
    pipeline = _open(backend)
    pipeline.reset()
    single = [_lanes(pipeline(frame)) for frame in drive]
    pipeline.reset()
    for one, other in zip(single, pipeline.stream(drive), strict=True):
        other = _lanes(other)
        assert one.stamp == other.stamp
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_array_equal(one.ids, other.ids)
    assert pipeline.fallbacks == []


def test_every_stage_is_timed(backend: str, drive: list[Frame]) -> None:
    pipeline = _open(backend)
    pipeline(drive[0])
    times = pipeline(drive[1]).times
    assert list(times) == ["submit", *STAGES, "collect", "decode", "track", "markings"]
    assert all(0 < times[stage] < 1000 for stage in ("upload", "preprocess", "infer", "group", "download"))


def test_a_captured_step_waits_for_nothing_and_allocates_nothing(backend: str, drive: list[Frame]) -> None:
    import cupy

    if backend not in CAPTURED:
        pytest.skip(f"{backend} is not captured")
    pipeline = _open(backend)
    pipeline(drive[0])
    frame = _path(pipeline)._frames[0]

    def refuse(size: int) -> None:
        raise AssertionError(f"the step allocated {size} bytes")

    # The strictest capture: any call that could wait or allocate, of any library, on this thread, makes it fail.
    with frame._device.use(frame._stream), cupy.cuda.using_allocator(refuse):
        frame._stream.begin_capture(cupy.cuda.runtime.streamCaptureModeGlobal)
        frame._device._capturing = True  # type: ignore[attr-defined]
        try:
            frame._enqueue()
        finally:
            frame._device._capturing = False  # type: ignore[attr-defined]
            graph = frame._stream.end_capture()
        graph.launch(frame._stream)
        frame._stream.synchronize()


def test_what_a_camera_sends_is_converted_on_the_card(backend: str, drive: list[Frame]) -> None:
    pipeline, image = _open(backend), drive[0].image
    maps, _ = pipeline.head_maps(drive[0])
    for encoding, code in (("rgb8", cv2.COLOR_BGR2RGB), ("bgra8", cv2.COLOR_BGR2BGRA), ("rgba8", cv2.COLOR_BGR2RGBA)):
        pixels = cv2.cvtColor(image, code)
        step = pixels.strides[0] + 24
        padded = np.zeros((len(pixels), step), np.uint8)
        padded[:, : pixels.strides[0]] = pixels.reshape(len(pixels), -1)
        frame = Frame(raw_image(encoding, *drive[0].size, step, padded))
        found, _ = pipeline.head_maps(frame)
        assert "image" not in vars(frame)
        for name, values in maps.items():
            np.testing.assert_array_equal(found[name], values)
    assert pipeline.fallbacks == []


def test_frames_may_change_their_size(backend: str, drive: list[Frame]) -> None:
    pipeline = _open(backend)
    first = _lanes(pipeline(drive[0])).mask
    half = _lanes(pipeline(Frame(np.ascontiguousarray(drive[0].image[::2, ::2])))).mask
    assert half.shape == (first.shape[0] // 2, first.shape[1] // 2)
    pipeline.reset()
    np.testing.assert_array_equal(_lanes(pipeline(drive[0])).mask, first)


def test_an_engine_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("RTSEG_ENGINE_CACHE", str(tmp_path / "cache"))
    folder = write_threshold_model(tmp_path / "thresholds")
    try:
        load(folder, device="cuda", backend="tensorrt").close()
    except RtsegError as error:
        pytest.skip(f"TensorRT does not open here: {error}")
    caplog.clear()
    assert len(_lanes(load(folder, device="cuda", backend="tensorrt")(two_lane_road()))) == 2
    assert "compiling" not in caplog.text


@pytest.fixture
def scarce_memory() -> Iterator[Callable[[int], None]]:
    """Limits what CuPy may allocate, as a fuller card would."""
    import cupy

    pool = cupy.get_default_memory_pool()

    def limit(spare: int) -> None:
        pool.free_all_blocks()
        pool.set_limit(size=pool.total_bytes() + spare)

    yield limit
    pool.set_limit(size=0)


def test_running_out_of_device_memory_costs_no_frame(tmp_path: Path, scarce_memory: Callable[[int], None]) -> None:
    folder = write_threshold_model(tmp_path / "thresholds")
    pipeline, expected = load(folder), _lanes(load(folder, device="cpu")(two_lane_road()))
    scarce_memory(1 << 16)  # enough for the network's tensors, too little for a frame's
    found = _lanes(pipeline(two_lane_road()))
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert pipeline.backend["device"] == "CPU"
    assert "OutOfMemoryError" in pipeline.fallbacks[0]


LOSE = """
import sys, cupy, numpy as np
from pathlib import Path
sys.path.insert(0, {root!r})
from rtseg.loading import load
from tests.threshold_network import two_lane_road, write_threshold_model
folder = write_threshold_model(Path({folder!r}))
pipeline, host = load(folder), load(folder, device="cpu")
road = two_lane_road()
assert len(pipeline(road)) == 2 and pipeline.fallbacks == [], pipeline.fallbacks
wild = cupy.RawKernel('extern "C" __global__ void wild(int* p) {{ p[0] = 1; }}', "wild")
wild((1,), (1,), (np.uintp(8),))  # an address that is nobody's: the context is lost for good
for shift in (0, 3, 6):
    image = np.roll(road, shift, axis=1)
    assert np.array_equal(pipeline(image).mask, host(image).mask)
assert pipeline.backend["device"] == "CPU", pipeline.backend
assert len(pipeline.fallbacks) == 1 and "is lost" in pipeline.fallbacks[0], pipeline.fallbacks
print("survived")
"""


def test_a_lost_context_costs_no_frame(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    code = LOSE.format(root=root, folder=str(tmp_path / "thresholds"))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "survived" in run.stdout, run.stderr[-3000:]


def test_mapped_frame_buffers_give_the_same_lanes(backend: str, drive: list[Frame], monkeypatch: Any) -> None:
    import rtseg.runtime.selection as selection

    expected = _open(backend)
    expected.reset()
    masks = [_lanes(expected(frame)).mask for frame in drive[:3]]
    monkeypatch.setattr(selection, "CudaDevice", lambda number: CudaDevice(number, mapped=True))
    pipeline = load("lanes-lite", device="cuda", backend=backend, network="model-fp32.onnx")
    for frame, mask in zip(drive, masks, strict=False):
        np.testing.assert_array_equal(_lanes(pipeline(frame)).mask, mask)
    assert pipeline.fallbacks == []


@pytest.mark.parametrize("mapped", [None, True, False])
def test_a_kernel_reads_what_the_host_wrote(mapped: bool | None) -> None:
    import cupy

    from rtseg.runtime.frame_buffers import MappedBuffer, PinnedBuffer, faster_buffer

    buffer = faster_buffer((9, 7, 3)) if mapped is None else (MappedBuffer if mapped else PinnedBuffer)((9, 7, 3))
    stream = cupy.cuda.Stream(non_blocking=True)
    for fill in (3, 200):
        buffer.host[...] = fill
        with stream:
            buffer.upload(stream)
            assert (buffer.device == fill).all()
