"""The path of a frame over a device: what it gives, and that no fault of it reaches the masks.

The kernels are the real ones, built for the CPU, and run on tests/runtime/gpu/shim_device.py; exceptions are the real
types of CuPy, NumPy and the errors of rtseg. What needs a card is in test_card.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import rtseg.lanes.device as gpu_lanes
import rtseg.runtime.pipeline as pipelines
import rtseg.runtime.selection as selection
from rtseg.errors import BackendError, ImageError, ModelError
from rtseg.frame import Frame, RawImage
from rtseg.loading import interpreter_for, load
from rtseg.media import raw_image
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.runs import RunsPlan
from rtseg.ops.cuda.status import BAD_AFFINITY, EDGE_OVERFLOW
from rtseg.results import Lanes
from rtseg.runtime.backends import create_backend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import IgnoreMask, LearnedMask
from rtseg.runtime.interpreter import interpret
from rtseg.runtime.latency import StageClock
from rtseg.runtime.models import Model, find_model
from rtseg.runtime.paths import FramePath, HostPath
from rtseg.runtime.pipeline import Pipeline
from rtseg.runtime.selection import Candidate, Selection
from tests.grouping.solo_maps import random_maps
from tests.instance_networks import paint, write_instance_model
from tests.runtime.gpu.shim_device import BoundBackend, ShimDevice
from tests.threshold_network import two_lane_road

cupy = pytest.importorskip("cupy", reason="CuPy is not installed, and its exceptions are what is injected")

CUDA_ERROR = cupy.cuda.runtime.CUDARuntimeError
OUT_OF_MEMORY, ILLEGAL_ADDRESS, LAUNCH_OUT_OF_RESOURCES, LAUNCH_FAILURE = 2, 700, 701, 719


class Bench:
    """A pipeline whose first ways are over shim devices and whose last is the CPU."""

    def __init__(self, model: Model, library: Path) -> None:
        self.model, self.device = model, ShimDevice(library)
        self.interpreter = interpreter_for(model.card)
        self.backends: list[BoundBackend] = []

    def create(self, name: str, path: Path, card: ModelCard, device: Any) -> BoundBackend:
        self.device.faults("load")
        self.backends.append(BoundBackend(path, card, self.device.faults, name))
        return self.backends[-1]

    def open_device(self, name: str) -> FramePath:
        return selection.open_device_path(name, self.model, self.interpreter, self.device, self.model.path.name)

    def open_host(self) -> FramePath:
        backend = create_backend("onnxruntime", self.model.path, self.model.card, 1)
        backend.warm_up()
        return HostPath(self.model.card, backend, self.interpreter)

    def pipeline(self, *names: str) -> Pipeline:
        devices = [Candidate(name, "cuda:0", partial(self.open_device, name)) for name in names or ("first",)]
        return Pipeline(
            self.model.card,
            self.interpreter,
            Selection((*devices, Candidate("onnxruntime", "cpu", self.open_host))),
        )


@pytest.fixture
def bench(model_folder: Callable[..., Path], shim_library: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(find_model(model_folder()), shim_library)
    monkeypatch.setattr(selection, "create_device_backend", bench.create)
    return bench


@pytest.fixture
def road() -> np.ndarray:
    """(60, 104, 3) uint8: the kernels run thread by thread here."""
    return two_lane_road(60, 104)


@pytest.fixture
def frames(road: np.ndarray) -> list[Frame]:
    return [Frame(np.roll(road, i, axis=1), stamp=i * 33_000_000, frame_id="front") for i in range(4)]


@pytest.fixture
def expected(bench: Bench, frames: list[Frame]) -> list[Lanes]:
    pipeline = load(bench.model.path.parent, device="cpu", backend="onnxruntime")
    return [_lanes(pipeline(frame)) for frame in frames]


def _lanes(result: Any) -> Lanes:
    assert isinstance(result, Lanes)
    return result


def _assert_same(found: Any, expected: Lanes) -> None:
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)
    assert (found.stamp, found.frame_id) == (expected.stamp, expected.frame_id)
    for line, other in zip(found.polylines, expected.polylines, strict=True):
        np.testing.assert_array_equal(line, other)


def test_frames_over_the_device_are_those_of_the_cpu(bench, frames, expected):
    pipeline = bench.pipeline()
    for frame, truth in zip(frames, expected, strict=True):
        _assert_same(pipeline(frame), truth)
    assert pipeline.fallbacks == []
    assert pipeline.backend["graph"] == "captured"
    assert bench.device.captures == 1
    assert not np.array_equal(expected[0].mask, expected[3].mask)  # another frame gives other masks


def test_a_stream_over_the_device_is_that_of_the_cpu(bench, frames, expected):
    pipeline = bench.pipeline()
    for found, truth in zip(pipeline.stream(frames), expected, strict=True):
        _assert_same(found, truth)
    assert bench.device.captures == 2  # two frames in flight, each with buffers of its own
    pipeline.reset()
    for found, truth in zip(pipeline.stream(frames), expected, strict=True):
        _assert_same(found, truth)
    assert bench.device.captures == 2


def test_an_abandoned_stream_leaves_its_buffers_free(bench, frames, expected):
    pipeline = bench.pipeline()
    for _ in range(3):
        stream = pipeline.stream(frames)
        next(stream)
        stream.close()
    pipeline.reset()
    for frame, truth in zip(frames, expected, strict=True):
        _assert_same(pipeline(frame), truth)
    assert bench.device.captures == 2


def test_times_say_what_each_stage_took(bench, road):
    times = bench.pipeline()(road).times
    assert list(times) == [
        "submit",
        "upload",
        "preprocess",
        "infer",
        "group",
        "download",
        "collect",
        "decode",
        "track",
        "markings",
    ]


def test_frames_may_change_their_size(bench, road):
    pipeline, host = bench.pipeline(), load(bench.model.path.parent, device="cpu", backend="onnxruntime")
    for image in (road, road[:, ::2], road, road[::2]):
        pipeline.reset()
        host.reset()
        np.testing.assert_array_equal(pipeline(image).mask, host(image).mask)
    sizes = [Frame(image) for image in (road, road[:, ::2], road[::2], road[::2])]
    pipeline.reset()
    host.reset()
    for found, frame in zip(pipeline.stream(sizes), sizes, strict=True):
        np.testing.assert_array_equal(found.mask, host(frame).mask)
    assert pipeline.fallbacks == []


PIXEL_BYTES = {"bgr8": 3, "rgb8": 3, "bgra8": 4, "rgba8": 4, "mono8": 1, "yuv422": 2, "yuv422_yuy2": 2}


def sent(encoding: str, height: int, width: int, padding: int, cut: bool = False) -> RawImage:
    """A picture of blocks and noise as a driver sends it; `cut` leaves out the padding of the last row."""
    rng = np.random.default_rng(height * width)
    blocks = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, PIXEL_BYTES[encoding]), np.uint8)
    pixels = np.kron(blocks, np.ones((8, 8, 1), np.uint8))[:height, :width]
    pixels ^= rng.integers(0, 8, pixels.shape, np.uint8)
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, padding)), constant_values=77)
    data = rows.tobytes()[: -padding if cut else None]
    return raw_image(encoding, height, width, rows.shape[1], data)


@pytest.mark.parametrize("encoding", PIXEL_BYTES)
@pytest.mark.parametrize(("height", "width", "padding", "cut"), [(24, 40, 0, False), (33, 22, 10, True)])
def test_what_a_camera_sends_is_converted_on_the_device(bench, encoding, height, width, padding, cut):
    raw = sent(encoding, height, width, padding, cut)
    frame, converted = Frame(raw), Frame(raw.convert())
    pipeline = bench.pipeline()
    found, _ = pipeline.head_maps(frame)
    assert "image" not in vars(frame), "the host has converted it too"
    expected, _ = load(bench.model.path.parent, device="cpu").head_maps(converted)
    assert np.ptp(expected["logits"]) > 0
    for name, values in pipeline.head_maps(converted)[0].items():
        np.testing.assert_array_equal(found[name], values)  # the same kernel on the same picture
        # The CPU may round a tie the other way: a step of one in 255.
        np.testing.assert_allclose(found[name], expected[name], atol=np.ptp(expected[name]) / 100)
    np.testing.assert_array_equal(frame.image, converted.image)


@pytest.mark.parametrize("rows", [np.zeros((20, 89), np.uint8), np.zeros((20, 90), np.int8), np.zeros((20, 30, 3))])
def test_rows_that_do_not_fit_are_the_callers_fault(bench, road, rows):
    pipeline = bench.pipeline()
    pipeline(road)
    with pytest.raises(ImageError, match="expected rows of 90 bytes for 30 px of rgb8"):
        pipeline(Frame(RawImage("rgb8", 30, rows, lambda: rows)))
    pipeline(road)
    assert pipeline.fallbacks == []
    assert bench.device.captures == 1


def test_an_odd_width_goes_up_as_it_is(bench):
    raw = sent("rgba8", 47, 61, 3)
    pipeline = bench.pipeline()
    found, expected = (pipeline.head_maps(Frame(pixels))[0] for pixels in (raw, raw.convert()))
    np.testing.assert_array_equal(found["logits"], expected["logits"])


def test_what_the_kernel_does_not_take_is_converted_first(bench):
    mosaic = np.random.default_rng(0).integers(0, 256, (60, 104), np.uint8)
    raw = raw_image("bayer_rggb8", 60, 104, 104, mosaic)
    frame = Frame(raw)
    pipeline = bench.pipeline()
    found, expected = (pipeline.head_maps(each)[0] for each in (frame, Frame(raw.convert())))
    np.testing.assert_array_equal(found["logits"], expected["logits"])
    assert "image" in vars(frame)


def test_frames_may_change_their_encoding_in_a_stream(bench, frames, expected):
    def encoded(frame: Frame, code: int, encoding: str) -> Frame:
        data = cv2.cvtColor(frame.image, code)
        raw = raw_image(encoding, *frame.size, data.strides[0], data.tobytes())
        return Frame(raw, frame.stamp, frame.frame_id)

    first, second, third, fourth = frames
    mixed = [
        encoded(first, cv2.COLOR_BGR2RGB, "rgb8"),
        encoded(second, cv2.COLOR_BGR2BGRA, "bgra8"),
        third,
        encoded(fourth, cv2.COLOR_BGR2RGBA, "rgba8"),
    ]
    pipeline = bench.pipeline()
    for found, truth in zip(pipeline.stream(mixed), expected, strict=True):
        _assert_same(found, truth)
    assert pipeline.fallbacks == []
    assert not any("image" in vars(frame) for frame in mixed if frame is not third)


def test_a_fault_hands_what_a_camera_sent_to_the_cpu(bench, frames, expected):
    pipeline = bench.pipeline()
    bench.device.faults.plan("upload", lambda: CUDA_ERROR(LAUNCH_FAILURE))
    rgb = cv2.cvtColor(frames[0].image, cv2.COLOR_BGR2RGB)
    raw = raw_image("rgb8", frames[0].size[0], frames[0].size[1], rgb.strides[0], rgb.tobytes())
    _assert_same(pipeline(Frame(raw, frames[0].stamp, frames[0].frame_id)), expected[0])
    assert len(pipeline.fallbacks) == 1


def test_head_maps_are_the_callers_own(bench, frames):
    pipeline, host = bench.pipeline(), load(bench.model.path.parent, device="cpu", backend="onnxruntime")
    maps, clock = pipeline.head_maps(frames[0])
    kept = maps["logits"].copy()
    pipeline.head_maps(frames[3])
    np.testing.assert_array_equal(maps["logits"], kept)
    np.testing.assert_allclose(kept, host.head_maps(frames[0])[0]["logits"], atol=1e-5)
    assert {"submit", "infer", "download"} <= set(clock.times)


def test_a_bad_image_is_the_callers_fault(bench, road):
    pipeline = bench.pipeline()
    for image in (road[:0], road.astype(np.float32), road[..., :2]):
        with pytest.raises(ImageError):
            pipeline(image)
    assert len(pipeline(road)) == 2
    assert pipeline.fallbacks == []


def test_more_runs_than_there_is_room_for_are_decoded_on_the_cpu(bench, frames, expected, monkeypatch):
    monkeypatch.setattr(gpu_lanes, "RunsPlan", lambda size, _, launcher: RunsPlan(size, 4, launcher))
    pipeline = bench.pipeline()
    for frame, truth in zip(frames, expected, strict=True):
        _assert_same(pipeline(frame), truth)
    assert pipeline.fallbacks == []


def test_logits_that_overflow_on_the_device_are_computed_on_the_cpu(bench, frames, expected):
    pipeline = bench.pipeline()
    _assert_same(pipeline(frames[0]), expected[0])
    for spoil, frame, truth in zip((np.inf, None, np.nan), frames[1:], expected[1:], strict=True):
        bench.backends[0].spoil = spoil
        _assert_same(pipeline(frame), truth)
    assert pipeline.fallbacks == []
    assert pipeline.backend["device"] == "shim"  # two frames are no reason to leave the card
    assert pipeline.backend["computed again"] == "2 frames, on the CPU"
    pipeline.close()


def test_a_device_that_spoils_frame_after_frame_is_left(bench, frames, expected, monkeypatch):
    monkeypatch.setattr(pipelines, "MAX_SPOILED", 2)
    pipeline = bench.pipeline()
    _assert_same(pipeline(frames[0]), expected[0])
    bench.backends[0].spoil = np.inf
    for i, (frame, truth) in enumerate(zip(frames[1:], expected[1:], strict=True), start=1):
        _assert_same(pipeline(frame), truth)
        assert len(pipeline.fallbacks) == (i > 2)
    assert "finite" in pipeline.fallbacks[0]
    assert pipeline.backend["device"] == "CPU"


def test_a_stream_of_which_a_device_spoils_some_loses_none(bench, frames, expected):
    pipeline = bench.pipeline()
    next(iter(pipeline.stream(frames)))
    pipeline.reset()
    bench.backends[0].spoil = np.inf
    for found, truth in zip(pipeline.stream(frames), expected, strict=True):
        _assert_same(found, truth)
    assert pipeline.fallbacks == []


SCENES: list[list[tuple[int, int, tuple[int, int, int, int]]]] = [
    [(0, 0, (8, 8, 40, 40)), (0, 2, (40, 8, 72, 40)), (1, 1, (84, 20, 120, 56))],
    [(0, 0, (12, 8, 44, 40)), (0, 2, (44, 8, 76, 40)), (1, 1, (80, 20, 116, 56))],
    [],
]


@pytest.mark.parametrize("method", ["affinity_union", "cascade_gaec"])
def test_instances_over_the_device_are_those_of_the_cpu(tmp_path, shim_library, monkeypatch, method):
    bench = Bench(find_model(write_instance_model(tmp_path / "blocks", method)), shim_library)
    monkeypatch.setattr(selection, "create_device_backend", bench.create)
    pipeline, host = bench.pipeline(), load(tmp_path / "blocks", device="cpu", backend="onnxruntime")
    for i, scene in enumerate(SCENES):
        frame = Frame(paint(scene)[0], stamp=i * 33_000_000)
        found, truth = pipeline(frame), host(frame)
        assert bool(len(truth)) == bool(scene)
        for name in ("labels", "ids", "class_ids", "boxes", "areas", "centers"):
            np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)
        np.testing.assert_allclose(found.scores, truth.scores, atol=1e-5)
    assert pipeline.fallbacks == []


@pytest.mark.parametrize("seed", range(3))
def test_solo_over_the_device_is_that_of_the_cpu(card_content, shim_library, seed):
    levels, features = random_maps(seed)
    maps = {"mask_features": features[None]}
    for level in levels:
        maps |= {f"cate_s{level.stride}": level.cate[None, None], f"kernel_s{level.stride}": level.kernel[None]}
    strides = [4, *(level.stride for level in levels for _ in range(2))]
    outputs = [
        {"name": name, "channels": values.shape[1], "stride": stride}
        for (name, values), stride in zip(maps.items(), strides, strict=True)
    ]
    fields = {"family": "exemplar_solo", "task": "instances", "grouping": {"method": "solo"}, "outputs": outputs}
    size = {"width": 96, "height": 64}
    card = ModelCard.model_validate({**card_content, **fields, "input": {**card_content["input"], **size}})
    device, host = interpreter_for(card), interpreter_for(card)
    launcher, frame = ShimDevice(shim_library).launcher, Frame(np.zeros((128, 192, 3), np.uint8))
    assert device.device_form is not None
    grouping = device.device_form(maps, (128, 192), launcher)
    grouping.run()
    found = device.finish(grouping.found(grouping.downloads), frame, StageClock())
    truth = interpret(host, maps, frame, StageClock())
    assert len(truth) > 0
    for name in ("labels", "ids", "class_ids", "scores", "boxes", "areas", "centers"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)


@pytest.mark.parametrize(("bits", "again"), [(EDGE_OVERFLOW, False), (BAD_AFFINITY, True)])
def test_what_the_union_reports_is_heeded(tmp_path, shim_library, monkeypatch, bits, again):
    """Too many edges are grouped on the CPU; affinities that are none are computed there again."""
    bench = Bench(find_model(write_instance_model(tmp_path / "blocks", "affinity_union")), shim_library)
    monkeypatch.setattr(selection, "create_device_backend", bench.create)
    run = AffinityUnionPlan.run

    def report(self: AffinityUnionPlan, *arguments: Any) -> None:
        run(self, *arguments)
        self.status[0] = bits

    monkeypatch.setattr(AffinityUnionPlan, "run", report)
    pipeline = bench.pipeline()
    assert len(pipeline(paint(SCENES[0])[0])) == 3
    assert pipeline.fallbacks == []
    assert ("computed again" in pipeline.backend) == again


def test_a_capture_that_fails_costs_the_graph_and_nothing_else(bench, frames, expected, caplog):
    bench.device.faults.plan("capture", lambda: CUDA_ERROR(901))
    pipeline = bench.pipeline()
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        for frame, truth in zip(frames, expected, strict=True):
            _assert_same(pipeline(frame), truth)
    assert pipeline.fallbacks == []
    assert "cudaErrorStreamCaptureInvalidated" in pipeline.backend["graph"]
    assert caplog.text.count("without a CUDA graph") == 1


def test_a_driver_without_events_in_graphs_costs_the_stages_times(bench, frames, expected):
    bench.device.faults.plan("record", lambda: BackendError("expected to record an event in a CUDA graph"))
    pipeline = bench.pipeline()
    results = [pipeline(frame) for frame in frames]
    for found, truth in zip(results, expected, strict=True):
        _assert_same(found, truth)
    assert pipeline.backend["graph"] == "captured"
    assert list(results[1].times) == ["submit", "device", "collect", "decode", "track", "markings"]


STAGES = {
    "load": lambda: ModelError("TensorRT cannot parse the network"),
    "warm-up": lambda: BackendError("TensorRT could not make an execution context"),
    "allocate": lambda: cupy.cuda.memory.OutOfMemoryError(1 << 30, 1 << 34, 0),
    "upload": lambda: CUDA_ERROR(OUT_OF_MEMORY),
    "preprocess": lambda: CUDA_ERROR(LAUNCH_OUT_OF_RESOURCES),
    "infer": lambda: BackendError("TensorRT could not enqueue a frame"),
    "group": lambda: CUDA_ERROR(LAUNCH_OUT_OF_RESOURCES),
    "download": lambda: CUDA_ERROR(OUT_OF_MEMORY),
    "wait": lambda: CUDA_ERROR(LAUNCH_FAILURE),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_before_the_first_frame_costs_no_frame(bench, frames, expected, caplog, stage):
    bench.device.faults.plan(stage, STAGES[stage])
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        pipeline = bench.pipeline()
        for frame, truth in zip(frames, expected, strict=True):
            _assert_same(pipeline(frame), truth)
    assert pipeline.backend["device"] == "CPU"
    assert len(pipeline.fallbacks) == 1
    assert str(STAGES[stage]()) in pipeline.fallbacks[0]
    assert caplog.text.count("falling back to onnxruntime on cpu") == 1


@pytest.mark.parametrize(
    ("stage", "streamed"),
    [(stage, False) for stage in ("upload", "preprocess", "infer", "group", "download", "wait")]
    + [("infer", True), ("wait", True)],
)
def test_a_fault_between_frames_costs_no_frame(bench, frames, expected, stage, streamed):
    pipeline = bench.pipeline()
    found = [pipeline(frame) for frame in frames[:2]]
    bench.device.faults.plan(stage, STAGES[stage], after=1)
    found += pipeline.stream(frames[2:]) if streamed else [pipeline(frame) for frame in frames[2:]]
    for result, truth in zip(found, expected, strict=True):
        _assert_same(result, truth)
    assert len(pipeline.fallbacks) == 1
    assert bench.backends[0].closed
    if stage not in ("wait", "infer"):  # a backend's own words are passed on as they are
        assert f"in stage {stage}" in pipeline.fallbacks[0]


def test_the_next_backend_on_the_device_is_tried_after_a_fault_it_survives(bench, frames, expected):
    pipeline = bench.pipeline("first", "second")
    _assert_same(pipeline(frames[0]), expected[0])
    bench.device.faults.plan("infer", lambda: ValueError("as a library might raise"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundBackend, "warm_up", lambda self: bench.device.faults._planned.clear())
        _assert_same(pipeline(frames[1]), expected[1])
    assert pipeline.backend["backend"] == "second"
    _assert_same(pipeline(frames[2]), expected[2])
    assert len(pipeline.fallbacks) == 1


def test_a_lost_device_is_not_tried_again(bench, frames, expected, caplog):
    pipeline = bench.pipeline("first", "second", "third")
    _assert_same(pipeline(frames[0]), expected[0])
    bench.device.faults.plan("wait", lambda: CUDA_ERROR(ILLEGAL_ADDRESS), lose=True)
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        for frame, truth in zip(frames[1:], expected[1:], strict=True):
            _assert_same(pipeline(frame), truth)
    assert [backend.name for backend in bench.backends] == ["first"]
    assert pipeline.backend["device"] == "CPU"
    assert len(pipeline.fallbacks) == 1
    assert not bench.backends[0].closed  # nothing on it is touched any more
    assert "cuda:0 is lost" in pipeline.fallbacks[0]
    assert "cudaErrorIllegalAddress" in pipeline.fallbacks[0]


def test_memory_that_really_runs_out_is_survived(bench, frames, expected, monkeypatch):
    def exhaust(self: BoundBackend, tensor: Any) -> dict[str, Any]:
        return {"logits": np.empty(1 << 60, np.uint8)}  # no machine has that much

    pipeline = bench.pipeline("first", "second")
    _assert_same(pipeline(frames[0]), expected[0])
    monkeypatch.setattr(BoundBackend, "infer", exhaust)
    for frame, truth in zip(frames[1:], expected[1:], strict=True):
        _assert_same(pipeline(frame), truth)
    assert ["MemoryError" in reason for reason in pipeline.fallbacks] == [True, True]


def test_a_backend_without_fixed_buffers_is_left(bench, frames, expected, monkeypatch):
    run = BoundBackend.infer

    def fresh(self: BoundBackend, tensor: Any) -> dict[str, Any]:
        return {name: array.copy() for name, array in run(self, tensor).items()}

    monkeypatch.setattr(BoundBackend, "infer", fresh)
    pipeline = bench.pipeline()
    _assert_same(pipeline(frames[0]), expected[0])
    assert "keep its output buffers" in pipeline.fallbacks[0]


def test_without_any_backend_left_every_frame_says_so(bench, frames):
    device = Candidate("first", "cuda:0", partial(bench.open_device, "first"))
    pipeline = Pipeline(bench.model.card, bench.interpreter, Selection((device,)))
    bench.device.faults.plan("wait", lambda: CUDA_ERROR(ILLEGAL_ADDRESS), lose=True)
    for _ in range(2):
        with pytest.raises(BackendError, match="cudaErrorIllegalAddress"):
            pipeline(frames[0])


def test_a_pipeline_that_was_closed_says_so(bench, frames):
    pipeline = bench.pipeline()
    pipeline.close()
    assert pipeline.backend["backend"] == "none"
    with pytest.raises(BackendError, match="was closed"):
        pipeline(frames[0])


@pytest.mark.parametrize("needs", [{"fit": "letterbox"}, {"top": 0.3}, {"fit": "letterbox", "top": 0.3}])
def test_what_the_network_is_shown_is_the_same_over_the_device(model_folder, shim_library, monkeypatch, road, needs):
    folder = model_folder()
    card = ModelCard.load(folder / "card.yaml")
    content = {**card.model_dump(), "input": {**card.input.model_dump(), **needs}}
    ModelCard.model_validate(content).dump(folder / "card.yaml")
    bench = Bench(find_model(folder), shim_library)
    monkeypatch.setattr(selection, "create_device_backend", bench.create)
    frames = [Frame(road, 0), Frame(np.ascontiguousarray(np.rot90(road)), 1), Frame(road[:40], 2)]
    host, device = load(folder, device="cpu", backend="onnxruntime"), bench.pipeline()
    for frame in frames:
        expected, _ = host.head_maps(frame)
        found, _ = device.head_maps(frame)
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.02)
        _assert_same(device(frame), _lanes(host(frame)))
    assert device.fallbacks == []


def test_what_is_ignored_is_ignored_over_the_device(model_folder, shim_library, monkeypatch, frames):
    mask = np.zeros((60, 104), bool)
    mask[:, 52:] = True
    bench = Bench(find_model(model_folder()), shim_library)
    bench.interpreter = interpreter_for(bench.model.card, IgnoreMask(mask))
    monkeypatch.setattr(selection, "create_device_backend", bench.create)
    host = load(bench.model.path.parent, device="cpu", backend="onnxruntime", ignore=IgnoreMask(mask))
    device = bench.pipeline()
    for frame in frames:
        expected = _lanes(host(frame))
        assert len(expected) == 1
        _assert_same(device(frame), expected)
    assert device.fallbacks == []


@pytest.mark.slow
def test_what_is_learned_to_stand_still_is_ignored_over_the_device(model_folder, shim_library, monkeypatch):
    # As each is seen: steadied lines would remember the one frame in which the two may differ.
    grouping = {"method": "lanes", "parameters": {"tracker": {"smoothing": 0.0}}}
    bench = Bench(find_model(model_folder(grouping=grouping)), shim_library)
    learned = LearnedMask()
    bench.interpreter = interpreter_for(bench.model.card, learned)
    monkeypatch.setattr(selection, "create_device_backend", bench.create)
    host = load(bench.model.path.parent, device="cpu", backend="onnxruntime", ignore="auto")
    device = bench.pipeline()
    device.learned = learned
    rng, whole, lowest = np.random.default_rng(3), two_lane_road(60, 104), []
    for k in range(44):
        road = rng.integers(0, 60, whole.shape, np.uint8) + whole // 2 + whole // 4
        road[-12:][whole[-12:].max(axis=2) < 128] = 90  # a bonnet, over which the lines go on until it is known
        frame = Frame(road, k * 250_000_000)
        known = learned.found
        expected, found = _lanes(host(frame)), device(frame)
        if known == learned.found:  # the frame that teaches the last of it is on its way over the device by then
            _assert_same(found, expected)
        lowest.append(max((float(line[-1, 1]) for line in expected.polylines), default=0.0))
    assert learned.found
    assert max(lowest[:20]) > 50
    assert max(lowest[-2:]) < 49
    assert device.fallbacks == []
