"""How fast a model runs on this machine: by stage, beside plain code, and against what the machine could do at best."""

from __future__ import annotations

import array
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import RtsegError
from rtseg.frame import Frame
from rtseg.lab.bench.floor import measure_floor
from rtseg.lab.bench.peers import PlainPeer, onnxruntime_peer, torch_peer
from rtseg.lab.bench.result import BenchFile, BenchRun, Floor, Latency, Measured, Peer, latency_of
from rtseg.lab.bench.sensors import PowerMeter, device_memory, resident_memory
from rtseg.lab.render import Drive, StreetDrive
from rtseg.lab.report.machine import commit, hardware_name, library_versions, machine_facts, utc_now
from rtseg.loading import load
from rtseg.media import decode_compressed, decode_image
from rtseg.progress import Bars
from rtseg.results import Instances, Lanes
from rtseg.runtime import LatencyLog, Pipeline, find_model
from rtseg.runtime.card import ModelFile
from rtseg.runtime.device import parse_device
from rtseg.runtime.models import Model
from rtseg.runtime.selection import network_for

_SCENES = {"lanes": "a highway", "instances": "a street"}
_SEED, _DISTINCT_FRAMES, _FPS = 3, 9, 30.0  # of a drive
_DETAIL = 1280  # pixels of the longer side that are painted, but a fifth of them at least; the rest is enlarging
_BLOCKS = 6  # the pipeline and its peers take turns, so that a disturbance meets all of them
_ON_DEVICE = ("preprocess", "infer", "group")
_NAMES = {"ONNX": "onnxruntime", "OpenVINO": "openvino", "TensorRT": "tensorrt", "torch": "torch"}


@dataclass(frozen=True)
class BenchSettings:
    """What to measure.

    Attributes:
        size: (height, width) of the frames.
        frames: to time, one by one and again as a stream.
        encoding: of the messages that frames arrive in: "bgr8", raw, or "jpeg".
        compare: also time plain peers and measure the floor.
        device: as for :func:`rtseg.load`.
        backend: as for :func:`rtseg.load`.
        threads: as for :func:`rtseg.load`.
        network: as for :func:`rtseg.load`.
    """

    size: tuple[int, int] = (720, 1280)
    frames: int = 300
    encoding: str = "bgr8"
    compare: bool = False
    device: str = "auto"
    backend: str = "auto"
    threads: int | None = None
    network: str | None = None


def bench_model(
    name_or_path: str | Path, settings: BenchSettings, keep: Callable[[BenchFile], None] | None = None
) -> BenchFile:
    """Time frames of a rendered drive through a model, from the bytes of an image message to the bytes of the mask's.

    Args:
        name_or_path: of the model.
        settings: what to measure.
        keep: is given the figures before the floor is measured, which drives the machine to its limits.

    Raises:
        ModelError: if the model cannot be found, or its card or file does not fit.
        BackendError: if the device or backend is not to be had.
    """
    before = resident_memory()
    threads = settings.threads or os.cpu_count() or 1
    model = find_model(name_or_path, settings.network)
    pipeline = load(name_or_path, settings.device, settings.backend, threads, settings.network)  # may be refused
    try:
        run = _measure(pipeline, model, rendered_frames(model.card.task, settings.size), settings, threads, before)
    finally:
        pipeline.close()
    found = BenchFile(
        hardware=hardware_name(None if run.backend["device"] == "CPU" else run.backend["device"]),
        facts=dict(machine_facts()),
        versions=library_versions(),
        commit=commit(),
        date=utc_now(),
        runs=(run,),
    )
    if not settings.compare:
        return found
    if keep is not None:
        keep(found)
    return found.replaced(runs=(run.replaced(floor=_floor(run, model, settings)),))


def rendered_frames(task: str, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Frames of a rendered drive there and back, so that lines and objects move on as they do before a camera.

    Args:
        task: "lanes", of which a highway is rendered, or "instances", of which a street is.
        size: (height, width) of the frames.

    Returns:
        (H, W, 3) uint8 BGR each; after the last comes the first again.
    """
    asked, detail = (_SEED, _DISTINCT_FRAMES / _FPS, _FPS, size), min(1.0, max(0.2, _DETAIL / max(size)))
    drive: Drive | StreetDrive
    drive = Drive(*asked, detail=detail) if task == "lanes" else StreetDrive(*asked, detail=detail)
    there = [np.ascontiguousarray(frame.image) for frame in drive]
    return [*there, *there[-2:0:-1]]


def _floor(run: BenchRun, model: Model, settings: BenchSettings) -> Floor:
    on_device = run.backend["device"] != "CPU"
    infer = next((stage.p50 for stage in run.stages if stage.stage == "infer"), run.host_to_host.p50)
    entry = next(file for file in model.card.files if file.file == run.network)
    path, whole = model.path.parent / entry.file, run.device_to_device or run.host_to_host
    return measure_floor(model.card, path, entry.precision, settings.size, run.threads, on_device, whole.p50, infer)


def _measure(
    pipeline: Pipeline,
    model: Model,
    images: Sequence[NDArray[np.uint8]],
    settings: BenchSettings,
    threads: int,
    before: Measured,
) -> BenchRun:
    messages = [make_message(image, settings.encoding) for image in images]
    pipeline.warm_up(*settings.size)
    for message in messages:
        pipeline(message())
    facts = pipeline.backend
    on_device = facts["device"] != "CPU"
    card_number = (parse_device(settings.device) or 0) if on_device else None
    entry = _network_file(model, facts, settings.network)
    # Before the peers are opened, whose libraries take more than the pipeline does.
    memory, card_memory = resident_memory(), device_memory(card_number)
    peers, missing = _peers(model, entry, threads, on_device) if settings.compare else ([], [])
    for peer in list(peers):
        _drop_if_it_fails(peer, images[:3], peers, missing)
        peer.log = LatencyLog()
    pipeline.reset()

    log, whole, device, meter = LatencyLog(), LatencyLog(), LatencyLog(), PowerMeter(card_number)
    spent = 0.0
    with Bars(transient=True) as progress:
        task = progress.add_task("one by one", total=settings.frames)
        for block in _blocks(settings.frames):
            with meter:
                start = time.perf_counter()
                for i in block:
                    _one(pipeline, messages[i % len(messages)], i, log, whole, device)
                spent += time.perf_counter() - start
            for peer in list(peers):
                _drop_if_it_fails(peer, [images[i % len(images)] for i in block], peers, missing)
            progress.advance(task, len(block))
        warm = [Frame(image) for image in images]
        list(pipeline.stream(warm))  # which opens what streams alone need
        pipeline.reset()
        sequence = (Frame(images[i % len(images)], stamp=i * 33_000_000) for i in range(settings.frames))
        start = time.perf_counter()
        for _ in progress.track(pipeline.stream(sequence), total=settings.frames, description="streamed"):
            pass
        streamed = settings.frames / (time.perf_counter() - start)
    host = latency_of(whole, "host to host")
    on_card = latency_of(device, "device to device") if device.values("device to device").size else None
    stages = tuple(latency_of(log, row.stage) for row in log.summary() if row.stage != "total")
    return BenchRun(
        model=model.card.name,
        network=entry.file,
        sha256=entry.sha256,
        precision=facts.get("precision", entry.precision),  # TensorRT casts
        backend=pipeline.backend,
        threads=threads,
        size=settings.size,
        frames=settings.frames,
        encoding=settings.encoding,
        scene=_SCENES[model.card.task],
        sequential_fps=round(settings.frames / spent, 1),
        streamed_fps=round(streamed, 1),
        stages=stages,
        decode_to_publish=latency_of(whole, "decode to publish"),
        host_to_host=host,
        device_to_device=on_card,
        resident=memory,
        grown=_grown(before, memory),
        device_memory=card_memory,
        power=meter.power(),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        peers=(*(_result(peer, host) for peer in peers), *missing),
    )


def _one(
    pipeline: Pipeline,
    message: Callable[[], Frame],
    number: int,
    log: LatencyLog,
    whole: LatencyLog,
    device: LatencyLog,
) -> None:
    arrived = time.perf_counter()
    frame = message()
    decoded = time.perf_counter()
    result = pipeline(Frame(frame.image, stamp=number * 33_000_000))
    done = time.perf_counter()
    _publish(result)
    published = time.perf_counter()
    total = 1e3 * (published - arrived)
    log.record({"unpack": 1e3 * (decoded - arrived), **result.times, "pack": 1e3 * (published - done)})
    whole.record({"decode to publish": total, "host to host": 1e3 * (done - decoded), "total": total})
    # Only where the device told its stages apart; on a CPU they have the same names and are none of a device.
    if "upload" in result.times:
        device.record({"device to device": sum(result.times[stage] for stage in _ON_DEVICE)})


def make_message(image: NDArray[np.uint8], encoding: str) -> Callable[[], Frame]:
    """Bytes as a camera sends them; what is returned makes a frame of them, as the node does."""
    height, width = image.shape[:2]
    if encoding == "jpeg":
        content = cv2.imencode(".jpg", image)[1].tobytes()
        return lambda: Frame(decode_compressed("jpeg", content))
    raw = image.tobytes()
    return lambda: Frame(decode_image(encoding, height, width, 3 * width, raw))


def _publish(result: Lanes | Instances) -> array.array[int]:
    """The mask as the node's messages carry it: one copy into what rclpy sends without another."""
    mask = result.mask if isinstance(result, Lanes) else result.labels.astype(np.uint16)
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(mask).data.cast("B"))
    return data


def _blocks(frames: int) -> Iterator[range]:
    edges = np.linspace(0, frames, min(_BLOCKS, frames) + 1).astype(int)
    for first, last in pairwise(edges.tolist()):
        yield range(first, last)


def _network_file(model: Model, facts: dict[str, str], network: str | None) -> ModelFile:
    """The file that a backend chose."""
    backend = _NAMES.get(facts["backend"].split()[0], "onnxruntime")
    path = network_for(model, backend, facts["device"] != "CPU", network)
    return next(entry for entry in model.card.files if entry.file == path.name)


def _peers(model: Model, entry: ModelFile, threads: int, on_device: bool) -> tuple[list[PlainPeer], list[Peer]]:
    card, folder = model.card, model.path.parent
    plain = next((file for file in card.files if file.precision == "fp32"), entry)
    provider = "CUDAExecutionProvider" if on_device else "CPUExecutionProvider"
    where = "CUDA provider" if on_device else "CPU"
    around = "OpenCV and NumPy"
    candidates: list[tuple[str, Callable[[str], PlainPeer]]] = [
        (
            f"ONNX Runtime, {where}, {plain.precision}, {around}",
            lambda name: onnxruntime_peer(name, card, folder / plain.file, threads, provider),
        )
    ]
    if entry.file != plain.file and not on_device:
        candidates.append(
            (
                f"ONNX Runtime, {where}, the same file, {around}",
                lambda name: onnxruntime_peer(name, card, folder / entry.file, threads, provider),
            )
        )
    candidates.append(
        (
            f"torch, eager, {'cuda' if on_device else 'cpu'}, {plain.precision}, {around}",
            lambda name: torch_peer(name, card, folder / plain.file, threads, "cuda" if on_device else "cpu"),
        )
    )
    peers, missing = [], []
    for name, opened in candidates:
        try:
            peers.append(opened(name))
        except RtsegError as error:
            missing.append(Peer(name=name, reason=str(error)))
    return peers, missing


def _drop_if_it_fails(
    peer: PlainPeer, images: Sequence[NDArray[np.uint8]], peers: list[PlainPeer], missing: list[Peer]
) -> None:
    """Time a peer; one that fails, in whatever way of its library, is no reason to lose the other figures."""
    try:
        for image in images:
            peer(image)
    except Exception as error:
        peers.remove(peer)
        missing.append(Peer(name=peer.name, reason=f"it failed: {type(error).__name__}: {error}"))


def _result(peer: PlainPeer, ours: Latency) -> Peer:
    total = latency_of(peer.log, "total")
    return Peer(
        name=peer.name,
        network=peer.file,
        total=total,
        infer=latency_of(peer.log, "infer"),
        times_slower=round(total.p50 / ours.p50, 2),
    )


def _grown(before: Measured, after: Measured) -> Measured:
    if before.value is None or after.value is None:
        return Measured(unit="MiB", reason=before.reason or after.reason)
    return Measured(value=round(after.value - before.value, 1), unit="MiB", how="since before the model was loaded")
