"""A stream of frames on the CPU, whose networks run several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtseg.errors import BackendError
from rtseg.frame import Frame
from rtseg.lanes.interpreter import LaneInterpreter
from rtseg.loading import load
from rtseg.runtime import Pipeline
from rtseg.runtime.backends import MAX_STREAMS, create_backend, stream_count
from rtseg.runtime.models import Model, find_model
from rtseg.runtime.paths import HostPath
from rtseg.runtime.selection import Candidate, Selection


class _Watched:
    """A real backend that calls `before` ahead of every frame, and counts how often it is closed."""

    def __init__(self, model: Model, before: Callable[[], None] = lambda: None) -> None:
        self.name, self.takes_pixels, self.closed = "onnxruntime", False, 0
        self._backend = create_backend("onnxruntime", model.path, model.card, 1)
        self._before = before

    def infer(self, tensor: Any) -> Any:
        self._before()
        return self._backend.infer(tensor)

    def warm_up(self) -> None:
        self._backend.warm_up()

    def describe(self) -> dict[str, str]:
        return self._backend.describe()

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def model(model_folder: Callable[..., Path]) -> Model:
    return find_model(model_folder())


@pytest.fixture
def frames(road: np.ndarray) -> list[Frame]:
    return [Frame(np.roll(road, shift, axis=1), stamp=shift * 33_000_000) for shift in range(9)]


def _pipeline(model: Model, path: HostPath, *others: HostPath) -> Pipeline:
    def opened(each: HostPath) -> Candidate:
        return Candidate("onnxruntime", "cpu", lambda: each)

    return Pipeline(model.card, LaneInterpreter(model.card), Selection(tuple(map(opened, (path, *others)))))


def _path(model: Model, backends: list[_Watched]) -> HostPath:
    """A path whose first backend is for single frames and whose others are for streams."""
    waiting = iter(backends[1:])
    return HostPath(model.card, backends[0], LaneInterpreter(model.card), len(backends) - 1, lambda: next(waiting))


def test_networks_of_a_stream_run_at_a_time(model: Model, frames: list[Frame]) -> None:
    met = threading.Barrier(3)
    alone = _Watched(model)
    backends = [alone, *(_Watched(model, lambda: met.wait(20) and None) for _ in range(3))]
    path = _path(model, backends)
    found = list(_pipeline(model, path).stream(frames))
    expected = [load(model.path.parent, threads=1)(Frame(frame.image)) for frame in frames]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.mask > 0, other.mask > 0)
    path.close()
    assert [backend.closed for backend in backends] == [1] * 4


def test_results_keep_the_order_of_their_frames(model: Model, frames: list[Frame]) -> None:
    turn = iter(range(100))
    backends = [_Watched(model, lambda: time.sleep(0.03 * (next(turn) % 3 == 0))) for _ in range(4)]
    assert [lanes.stamp for lanes in _pipeline(model, _path(model, backends)).stream(frames)] == [
        frame.stamp for frame in frames
    ]


def test_a_stream_that_is_left_early_leaves_no_thread(model: Model, frames: list[Frame]) -> None:
    before = threading.active_count()
    stream = _pipeline(model, _path(model, [_Watched(model) for _ in range(3)])).stream(frames)
    assert isinstance(stream, Generator)
    assert next(stream).stamp == 0
    stream.close()
    assert threading.active_count() == before


def test_no_frame_is_lost_when_a_network_of_several_fails(model: Model, frames: list[Frame]) -> None:
    calls = iter(range(100))

    def fail_once() -> None:
        if next(calls) == 4:
            raise BackendError("out of memory")

    path = _path(model, [_Watched(model, fail_once) for _ in range(4)])
    pipeline = _pipeline(model, path, HostPath(model.card, _Watched(model), LaneInterpreter(model.card)))
    assert [lanes.stamp for lanes in pipeline.stream(frames)] == [frame.stamp for frame in frames]
    assert pipeline.fallbacks == ["out of memory"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_stream_gives_what_single_frames_give_whatever_the_threads(
    backend: str, threads: int, model: Model, frames: list[Frame]
) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    pipeline = load(model.path.parent, backend=backend, threads=threads)
    single = [pipeline(frame) for frame in frames]
    pipeline.reset()
    for one, other in zip(single, pipeline.stream(frames), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_array_equal(one.ids, other.ids)


def test_a_stream_has_as_many_networks_as_threads_up_to_a_few() -> None:
    assert [stream_count("onnxruntime", threads) for threads in (1, 2, 3, 16)] == [1, 2, 3, MAX_STREAMS]
    assert stream_count("torch", 8) == 1, "its threads are the process's"
