"""The path of a frame, from image to result."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rtseg.camera.health import CameraHealth
from rtseg.camera.state import CameraState
from rtseg.counted import counted
from rtseg.errors import BackendError, HeadMapsError, ImageError, ModelError
from rtseg.frame import Frame
from rtseg.results import Instances, Lanes
from rtseg.runtime.backends import MAX_STREAMS
from rtseg.runtime.card import ModelCard
from rtseg.runtime.ignore import LearnedMask
from rtseg.runtime.interpreter import AnyInterpreter, HeadMaps
from rtseg.runtime.latency import StageClock
from rtseg.runtime.paths import Finish, FramePath
from rtseg.runtime.scenes import SceneCheck
from rtseg.runtime.selection import Candidate, Selection

logger = logging.getLogger("rtseg")

MAX_SPOILED = 10
"""Frames whose head maps a device spoilt and the CPU computed again, before the device is left for good."""

__all__ = ["HeadMaps", "Pipeline"]


@dataclass(frozen=True)
class _InFlight:
    """A frame on its way, the path it is on, why ids start anew with it, if they do, and how its camera does."""

    frame: Frame
    path: FramePath
    finish: Finish
    restart: str = ""
    camera: CameraState = field(default_factory=CameraState)


class Pipeline:
    """A loaded model: ``pipeline(image)`` gives lanes or instances in the pixels of the image.

    One pipeline follows one camera, since ids are carried from frame to frame of a stream; stills may come between,
    and leave no trace (:class:`rtseg.Frame` says what is which). Ids start anew, and the result says so, wherever the
    stream goes on with another scene (:class:`rtseg.runtime.scenes.SceneCheck`). What is wrong with the camera
    (:class:`rtseg.camera.health.CameraHealth`) is told with the result, and lowers its confidence. It is not safe to
    call from several threads at once.

    A backend or device that fails is left for the next best, for good, and the frame in flight is computed again there:
    none is lost. A frame whose head maps alone are bad, as where half precision overflows, is computed again on the
    CPU, and the device goes on, unless that happens more than :data:`MAX_SPOILED` times. See
    :mod:`rtseg.runtime.device` for what is tried again after which fault.

    Args:
        card: the model's card.
        interpreter: turns head maps into results.
        selection: the ways to try.
        learned: the interpreter's mask of what is not looked at, where it is learned from the frames.

    Attributes:
        card: the model's card.
        learned: as given.
        fallbacks: why faster backends were left, one sentence each, oldest first.

    Raises:
        BackendError: if none of the ways that have to open does.
    """

    def __init__(
        self, card: ModelCard, interpreter: AnyInterpreter, selection: Selection, learned: LearnedMask | None = None
    ) -> None:
        self.card = card
        self.learned = learned
        self.fallbacks: list[str] = []
        self._interpreter = interpreter
        self._scenes = SceneCheck()
        self._camera = CameraHealth()
        self._untold = ""  # why ids started anew with a frame that then failed
        self._candidates = list(selection.wanted)
        self._spare: tuple[Candidate, FramePath] | None = None  # on the CPU, for frames that a device spoils
        self._spoiled = 0
        if selection.reason is not None:
            self._note_fallback(selection.reason)
        self._path: FramePath | None = self._open_next()
        self._candidates += selection.reserve

    @property
    def backend(self) -> dict[str, str]:
        """Facts about the backend in use."""
        if self._path is None:
            return {"backend": "none", "device": "none"}
        again = {"computed again": f"{counted(self._spoiled, 'frame')}, on the CPU"} if self._spoiled else {}
        return {**self._path.describe(), **again}

    def __call__(self, image: NDArray[np.uint8] | Frame) -> Lanes | Instances:
        """Process one image.

        Args:
            image: a still as (H, W, 3) uint8 BGR, or a Frame whose stamp and frame_id the result then carries.

        Raises:
            ImageError: if it is no such image.
            BackendError: if every backend failed on it.
        """
        return self._finish(self._take(_as_frame(image)))

    def head_maps(self, image: NDArray[np.uint8] | Frame) -> tuple[HeadMaps, StageClock]:
        """Run the network only, for those who interpret its outputs in several ways.

        Returns:
            Outputs by name, (1, C, h, w) float32 each, and the clock that goes on with an interpreter.

        Raises:
            ImageError: if it is no such image.
            BackendError: if every backend failed on it.
        """
        frame = _as_frame(image)
        while True:
            path, clock = self._current(), StageClock()
            try:
                return path.head_maps(frame, clock), clock
            except BackendError as error:
                self._leave(path, str(error))

    def stream(
        self, frames: Iterable[Frame], refused: Callable[[Frame, ImageError], None] | None = None
    ) -> Iterator[Lanes | Instances]:
        """Process frames in order, overlapping the network of one frame with the other stages of its neighbors.

        On a CPU several networks run at a time, up to four, and share the pipeline's threads. Results come in the
        order of the frames, one each, some frames late: one on a device, two to five on a CPU.

        Args:
            frames: stills, or the frames of a stream.
            refused: is told of frames that are no image, which then give no result; without, the first of them ends
                the stream.

        Raises:
            ImageError: a frame is no image.
            BackendError: every backend failed.
        """
        with ThreadPoolExecutor(max_workers=MAX_STREAMS, thread_name_prefix="rtseg-infer") as executor:
            pending: deque[_InFlight] = deque()
            for frame in frames:
                try:
                    pending.append(self._take(frame, executor))
                except ImageError as error:
                    if refused is None:
                        raise
                    refused(frame, error)
                if len(pending) > self._current().ahead:
                    yield self._finish(pending.popleft())
            while pending:
                yield self._finish(pending.popleft())

    def share_camera(self, other: Pipeline) -> None:
        """Tell of the camera's health what another pipeline sees, so that each frame is looked at once.

        Args:
            other: is given the same frames, each before this one is.
        """
        self._camera = other._camera

    def reset(self) -> None:
        """Forget the tracked ids, as at the start of another recording."""
        self._scenes.reset()
        self._camera.reset()
        self._untold = ""
        self._interpreter.reset()

    def warm_up(self, height: int = 720, width: int = 1280) -> None:
        """Run every stage once on a blank image, so that compilation and allocation are done before the first frame.

        Since nothing is found in a blank image, the interpreter is also given maps in which there is something.

        Args:
            height: of the frames to come, in pixels.
            width: of the frames to come, in pixels.
        """
        blank = Frame(np.zeros((height, width, 3), dtype=np.uint8), stamp=0)
        self(blank)
        self._interpreter.warm_up(blank)
        self.reset()

    def close(self) -> None:
        """Give back what the backend holds."""
        for path in (self._path, self._spare[1] if self._spare else None):
            if path is not None:
                path.close()
        self._path = self._spare = None

    def _current(self) -> FramePath:
        if self._path is None:
            reason = f"the last failed: {self.fallbacks[-1]}" if self.fallbacks else "the pipeline was closed"
            raise BackendError(f"expected a backend that works, none is left, {reason}; load the model again")
        return self._path

    def _take(self, frame: Frame, ahead: Executor | None = None) -> _InFlight:
        started = self._start(frame, ahead)
        # After a frame that is none was refused.
        camera = self._camera.update(frame)
        if self.learned is not None and self.learned.learn(frame, camera.moving) and self._path is not None:
            self._path.renew()
        return replace(started, restart=self._scenes.check(frame), camera=camera)

    def _start(self, frame: Frame, ahead: Executor | None = None) -> _InFlight:
        while True:
            path = self._current()
            try:
                return _InFlight(frame, path, path.start(frame, ahead))
            except BackendError as error:
                self._leave(path, str(error))

    def _finish(self, started: _InFlight) -> Lanes | Instances:
        if started.restart:
            self._interpreter.reset()
            self._untold = started.restart
        result = _with_camera(self._result(started), started.camera)
        if result.stamp is None or not self._untold:
            return result
        restart, self._untold = self._untold, ""
        return replace(result, restart=restart)

    def _result(self, started: _InFlight) -> Lanes | Instances:
        while True:
            if started.path is self._path:  # else it was left for another while this frame was on its way
                try:
                    return started.finish()
                except HeadMapsError as error:
                    spare = self._spare_path(str(error))
                    if spare is not None:
                        return spare.start(started.frame, None)()
                    self._leave(started.path, str(error))
                except BackendError as error:
                    self._leave(started.path, str(error))
            started = self._start(started.frame)

    def _spare_path(self, reason: str) -> FramePath | None:
        """The CPU's, for one frame more that a device spoilt; None where there is none or the device is to be left."""
        self._spoiled += 1
        if self._spoiled > MAX_SPOILED:
            return None
        if self._spare is None:
            candidate = next((each for each in self._candidates if each.device == "cpu"), None)
            if candidate is None:
                return None
            try:
                self._spare = candidate, candidate.open()
            except (BackendError, ModelError):
                return None
        logger.warning("a frame is computed again on the CPU: %s", reason)
        return self._spare[1]

    def _leave(self, path: FramePath, reason: str) -> None:
        if not path.alive():
            reason = f"{path.device} is lost and left alone from now on: {reason}"
            self._candidates = [candidate for candidate in self._candidates if candidate.device != path.device]
        if not self._candidates:
            raise BackendError(reason)  # the path stays: what was wrong may have been wrong with this frame alone
        self._note_fallback(reason)
        self._path = None
        path.close()
        self._path = self._open_next()

    def _open_next(self) -> FramePath:
        while True:
            candidate = self._candidates.pop(0)
            if self._spare is not None and self._spare[0] is candidate:
                path, self._spare = self._spare[1], None
                return path
            try:
                return candidate.open()
            except (BackendError, ModelError) as error:
                if not self._candidates:
                    raise
                self._note_fallback(f"{candidate} was not opened: {error}" if candidate.device != "cpu" else str(error))

    def _note_fallback(self, reason: str) -> None:
        self.fallbacks.append(reason)
        logger.warning("falling back to %s: %s", self._candidates[0], reason)


def _with_camera(result: Lanes | Instances, camera: CameraState) -> Lanes | Instances:
    """The result with how its camera does: whether it moves, what is wrong with it, and so how sure the result is."""
    if isinstance(result, Lanes) and camera.moving is not None:
        result = replace(result, moving=camera.moving)
    if not camera.faults:
        return result
    trust = np.float32(camera.trust)
    if isinstance(result, Lanes):
        return replace(result, degraded=camera.faults, confidence=result.confidence * trust)
    return replace(result, degraded=camera.faults, scores=result.scores * trust)


def _as_frame(image: NDArray[np.uint8] | Frame) -> Frame:
    return image if isinstance(image, Frame) else Frame(image)
