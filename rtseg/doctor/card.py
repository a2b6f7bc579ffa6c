"""A card tested by itself: what a report of a fault needs to say, in steps of which none stops the others."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.doctor.card_kernels import compare_kernels
from rtseg.doctor.findings import Finding, listed
from rtseg.errors import RtsegError
from rtseg.frame import Frame
from rtseg.page import Page, render_page
from rtseg.results import Instances, Lanes
from rtseg.runtime.device import Device
from rtseg.runtime.pipeline import Pipeline

_SIZE = (720, 1280)
_ALIKE = 0.98  # of the pixels of a frame: half precision may tip some, and no more

Pipelines = Callable[[], Pipeline]


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: of the step.
        found: what was measured.
        fault: why it did not go well, else None.
        seconds: that it took.
    """

    name: str
    found: dict[str, Any]
    fault: str | None
    seconds: float


@dataclass(frozen=True)
class CardReport:
    """What a card did.

    Attributes:
        device: its name.
        model: that ran on it.
        steps: in the order in which they were tried.
        findings: what there is on the machine.
    """

    device: str
    model: str
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def faults(self) -> list[str]:
        """One sentence for each step that did not go well."""
        return [f"{step.name}: {step.fault}" for step in self.steps if step.fault]

    def json(self) -> str:
        """Everything, for a program."""
        return json.dumps({"healthy": not self.faults, "faults": self.faults, **asdict(self)}, indent=1)

    def html(self) -> str:
        """One page that needs nothing beside it."""
        faults = len(self.faults)
        went = "all went well" if not faults else f"{faults} of {len(self.steps)} steps did not go well"
        seconds = sum(step.seconds for step in self.steps)
        rows = [(step.name, f"{step.seconds:.1f} s", "fault" if step.fault else "well") for step in self.steps]
        found = [
            (step.name[:1].upper() + step.name[1:], [(k, _told(v)) for k, v in step.found.items()])
            for step in self.steps
        ]
        return render_page(
            Page(
                title=self.device,
                subtitle=f"{self.model}: {went}",
                figures=[("steps", str(len(self.steps))), ("faults", str(faults)), ("seconds", f"{seconds:.0f}")],
                notes=self.faults,
                tables=[("Steps", ("step", "time", "outcome"), rows)],
                lists=[*found, ("This machine", listed(self.findings))],
            )
        )


def _told(found: Any) -> str:
    if isinstance(found, dict):
        return ", ".join(f"{name} {value}" for name, value in found.items())
    return str(found)


class _Fault(Exception):
    """A step that ran and found something wrong; what it found is kept."""

    def __init__(self, sentence: str, found: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.found = found


class CardTest:
    """The steps, over one device and the pipelines that run on it.

    Args:
        device: to be tested.
        card: opens a pipeline on it.
        host: opens the same on the CPU, in float as the card's.
        repeats: of a frame that has to give the same bits.
        size: (H, W) of the frames.
    """

    def __init__(
        self, device: Device, card: Pipelines, host: Pipelines, repeats: int = 200, size: tuple[int, int] = _SIZE
    ) -> None:
        self._device, self._card, self._host, self._repeats = device, card, host, repeats
        self._frames = drawn_frames(8, size)
        self._opened: Pipeline | None = None

    def run(self) -> CardReport:
        """Take every step."""
        plan: dict[str, Callable[[], dict[str, Any]]] = {
            "copies": self._copies,
            "kernels beside the CPU's": self._kernels,
            "events in a graph": self._events,
            "a pipeline": self._open,
            "results near the CPU's": self._near,
            "the same frame, the same bits": self._same,
            "three threads": self._threads,
            "frames that no camera sends": self._extremes,
            "memory": self._memory,
            "time by stage": self._stages,
            "two frames in flight": self._stream,
        }
        steps = tuple(_step(name, work) for name, work in plan.items())
        name = self._opened.card.name if self._opened else "no model opened"
        if self._opened:
            self._opened.close()
        return CardReport(self._device.describe(), name, steps)

    def _pipeline(self) -> Pipeline:
        if self._opened is None:
            raise RtsegError("no pipeline opened on the card, see the step before")
        return self._opened

    def _well(self, found: dict[str, Any]) -> dict[str, Any]:
        fallbacks = self._pipeline().fallbacks
        if fallbacks:
            raise _Fault(f"the card was left: {'; '.join(fallbacks)}", found)
        again = self._pipeline().backend.get("computed again")
        if again:
            raise _Fault(f"head maps were spoilt, so that so much was computed again: {again}", found)
        return found

    def _copies(self) -> dict[str, Any]:
        """What the link costs at least, in microseconds."""
        device, stream, found = self._device, self._device.stream(), {}
        with device.use(stream):
            for nbytes in (4, 1 << 16, 1280 * 720 * 2, 1280 * 720 * 3):
                buffer, host = device.frame_buffer((nbytes,)), device.host_array((nbytes,), "uint8")
                wait = partial(device.wait, stream)
                found[f"{nbytes} B up"] = _median_us(partial(buffer.upload, stream), wait)
                found[f"{nbytes} B down"] = _median_us(partial(device.download, buffer.device, host, stream), wait)
                buffer.host[:] = np.arange(nbytes) % 251
                buffer.upload(stream)
                device.download(buffer.device, host, stream)
                device.wait(stream)
                if not np.array_equal(host, buffer.host):
                    raise _Fault(f"{nbytes} bytes came back changed", found)
        return {f"{name}, us": value for name, value in found.items()}

    def _kernels(self) -> dict[str, Any]:
        differ = compare_kernels(self._device)
        found = {f"{name}: values that differ": count for name, count in differ.items()}
        if any(differ.values()):
            raise _Fault(f"other values from {', '.join(name for name, count in differ.items() if count)}", found)
        return found

    def _events(self) -> dict[str, Any]:
        device, stream = self._device, self._device.stream()
        with device.use(stream):
            begin, end, memory = device.event(), device.event(), device.launcher.xp.zeros(1 << 24, "uint8")
            device.wait(stream)

            def work() -> None:
                device.record(begin, stream)
                memory.fill(0)
                device.record(end, stream)

            replay = device.capture(stream, work)
            replay()
            device.wait(stream)
            return {
                "16 MiB set to 0, ms": round(device.milliseconds(begin, end), 4),
                "launch to done, us": _median_us(replay, lambda: device.wait(stream)),
            }

    def _open(self) -> dict[str, Any]:
        start = time.perf_counter()
        pipeline = self._opened = self._card()
        opened = time.perf_counter()
        pipeline.warm_up(*self._frames[0].size)
        found = {
            "opened, s": round(opened - start, 2),
            "warm-up, s": round(time.perf_counter() - opened, 2),
            **pipeline.backend,
        }
        self._well(found)
        if found.get("graph") != "captured":
            raise _Fault(f"frames run without a graph: {found.get('graph')}", found)
        return found

    def _near(self) -> dict[str, Any]:
        host, alike = self._host(), []
        try:
            for pipeline in (self._pipeline(), host):
                pipeline.reset()
            for frame in self._frames:
                here, there = _picture(self._pipeline()(frame)), _picture(host(frame))
                alike.append(float(((here > 0) == (there > 0)).mean()))
        finally:
            host.close()
        found = {"share of pixels alike, least": round(min(alike), 5)}
        if min(alike) < _ALIKE:
            raise _Fault(f"expected at least {_ALIKE} of the pixels as on the CPU, got {min(alike):.3f}", found)
        return self._well(found)

    def _same(self) -> dict[str, Any]:
        pipeline, first = self._pipeline(), None
        for i in range(self._repeats):
            pipeline(self._frames[1 + i % (len(self._frames) - 1)])
            pipeline.reset()
            picture = _picture(pipeline(self._frames[0]))
            first = picture if first is None else first
            if not np.array_equal(picture, first):
                raise _Fault(f"another result at repeat {i}", {"repeats": i})
            pipeline.reset()
        return self._well({"repeats": self._repeats})

    def _threads(self) -> dict[str, Any]:
        """Opened in one thread, called in another, closed in a third, as a lifecycle node does."""
        box: dict[str, Any] = {}

        def opened() -> None:
            box["pipeline"] = self._card()

        def called() -> None:
            pipeline: Pipeline = box["pipeline"]
            box["results"] = [pipeline(frame) for frame in self._frames[:3]] + list(pipeline.stream(self._frames[3:]))
            box["fallbacks"] = list(pipeline.fallbacks)

        for work in (opened, called, lambda: box["pipeline"].close()):
            _in_a_thread(work)
        if box["fallbacks"]:
            raise _Fault(f"the card was left: {'; '.join(box['fallbacks'])}", {})
        return {"frames": len(box["results"])}

    def _extremes(self) -> dict[str, Any]:
        """Half precision may overflow on what no network was trained for."""
        height, width = self._frames[0].size
        rng, shape = np.random.default_rng(0), (height, width, 3)
        stripes = np.broadcast_to((np.arange(width) % 2 * 255).astype(np.uint8)[None, :, None], shape)
        checks = (np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
        found: dict[str, Any] = {}
        for name, image in {
            "black": np.zeros(shape, np.uint8),
            "white": np.full(shape, 255, np.uint8),
            "noise": rng.integers(0, 256, shape, np.uint8),
            "stripes": np.ascontiguousarray(stripes),
            "checks": checks,
        }.items():
            found[f"{name}: found"] = len(self._pipeline()(Frame(image)))
            self._well(found)
        return found

    def _memory(self) -> dict[str, Any]:
        """Memory of the card before and after many frames, then after frames of other sizes."""
        pipeline, before = self._pipeline(), self._device.used_bytes()
        for i in range(2 * self._repeats):
            pipeline(self._frames[i % len(self._frames)])
        after = self._device.used_bytes()
        for factor in (0.5, 0.75, 1.0):
            image = np.asarray(cv2.resize(self._frames[0].image, None, fx=factor, fy=factor), np.uint8)
            pipeline(Frame(image))
        found = {
            "MiB before": round(before / 2**20, 1),
            f"MiB after {2 * self._repeats} frames": round(after / 2**20, 1),
            "MiB after other sizes": round(self._device.used_bytes() / 2**20, 1),
        }
        if after > before + (32 << 20):
            raise _Fault("expected frames of one size to take no more memory, they did", found)
        return self._well(found)

    def _stages(self) -> dict[str, Any]:
        pipeline, rows = self._pipeline(), dict[str, list[float]]()
        first = min(10, self._repeats)
        for i in range(first + self._repeats):
            start = time.perf_counter()
            result = pipeline(self._frames[i % len(self._frames)])
            total = 1e3 * (time.perf_counter() - start)
            for name, value in {**result.times, "host to host": total}.items():
                if i >= first:
                    rows.setdefault(name, []).append(value)
        return self._well({f"{name}, ms": _percentiles(values) for name, values in rows.items()})

    def _stream(self) -> dict[str, Any]:
        pipeline = self._pipeline()
        frames = [self._frames[i % len(self._frames)] for i in range(self._repeats)]
        for _ in pipeline.stream(frames[:4]):
            pass
        start = time.perf_counter()
        for frame in frames:
            pipeline(frame)
        middle = time.perf_counter()
        for _ in pipeline.stream(frames):
            pass
        found = {
            "one by one, frames a second": round(len(frames) / (middle - start), 1),
            "streamed": round(len(frames) / (time.perf_counter() - middle), 1),
        }
        return self._well(found)


def drawn_frames(count: int, size: tuple[int, int]) -> list[Frame]:
    """Frames of a road with two lines and some blocks beside it, (H, W), as if they were taken at 15 Hz."""
    height, width = size
    rng, frames = np.random.default_rng(7), []
    for i in range(count):
        image = rng.integers(70, 90, (height, width, 3), np.uint8)
        image[: height // 2] += 90
        for side in (-1, 1):
            foot = width // 2 + side * width // 3 + 4 * i
            ends = (width // 2 + side * width // 50, height // 2), (foot, height - 1)
            cv2.line(image, *ends, (240, 240, 240), max(1, width // 100))
        for k in range(3):
            x, y = (width * (k + 1) // 4 + 3 * i) % width, height * 2 // 5
            cv2.rectangle(image, (x, y), (x + width // 10, y + height // 5), (40 * k, 30, 200 - 60 * k), -1)
        frames.append(Frame(image, stamp=i * 66_000_000))
    return frames


def _picture(result: Lanes | Instances) -> NDArray[Any]:
    return result.mask if isinstance(result, Lanes) else result.labels


def _step(name: str, work: Callable[[], dict[str, Any]]) -> Step:
    start, fault, found = time.perf_counter(), None, dict[str, Any]()
    try:
        found = work()
    except _Fault as error:
        fault, found = str(error), error.found
    except RtsegError as error:
        fault = str(error)
    except Exception as error:  # a report tells of whatever happens, and goes on
        fault, found = f"{type(error).__name__}: {error}", {"traceback": traceback.format_exc()}
    return Step(name, found, fault, round(time.perf_counter() - start, 2))


def _in_a_thread(work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _median_us(work: Callable[[], Any], wait: Callable[[], None], repeats: int = 40) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        wait()
        times.append(1e6 * (time.perf_counter() - start))
    return round(float(np.median(times)), 1)


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in (1, 50, 90, 99)}
