"""Which backends are tried for a model, on what device and in what order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtseg.errors import BackendError
from rtseg.runtime.backends import (
    Backend,
    available_backends,
    check_backend,
    check_backend_names,
    create_backend,
    create_device_backend,
    stream_count,
)
from rtseg.runtime.card import verified_model_file
from rtseg.runtime.device import DLA, CudaDevice, Device, device_driver_present, device_faults, parse_device
from rtseg.runtime.interpreter import AnyInterpreter
from rtseg.runtime.models import Model

if TYPE_CHECKING:
    from rtseg.runtime.paths import FramePath


@dataclass(frozen=True)
class Candidate:
    """A way that can be opened.

    Attributes:
        backend: name.
        device: ``cpu`` or ``cuda:N``.
        open: open it and run it once; raises BackendError or ModelError.
    """

    backend: str
    device: str
    open: Callable[[], FramePath]

    def __str__(self) -> str:
        return f"{self.backend} on {self.device}"


@dataclass(frozen=True)
class Selection:
    """Candidates, best first.

    Attributes:
        wanted: one of these has to open when the model is loaded.
        reserve: tried after them, when the model is loaded or later.
        reason: why there is none for a device where one would be expected, else None.
    """

    wanted: tuple[Candidate, ...]
    reserve: tuple[Candidate, ...] = ()
    reason: str | None = None


def open_ahead(
    model: Model, device: str, backend: str, threads: int, network: str | None
) -> Future[Backend | None] | None:
    """Begin to open, in a thread, what :func:`select` will try first, for whoever imports Numba meanwhile.

    Libraries read and compile a network without Python's lock, in about the time that importing what comes after the
    network takes.

    Args:
        model: the model.
        device: as of :func:`select`, as are all the others.
        backend: name, or ``auto``.
        threads: of the network.
        network: file name, or None.

    Returns:
        What gives the backend, None for one that is not for the CPU; or None where that is not tried first.
    """
    if device not in ("auto", "cpu") or (device == "auto" and device_driver_present()):
        return None

    def open_first() -> Backend | None:
        names = _names("cpu", backend)
        return _open_network(names[0], model, threads, network) if names else None

    with_one = ThreadPoolExecutor(1, "rtseg-open")
    try:
        return with_one.submit(open_first)
    finally:
        with_one.shutdown(wait=False)


def select(
    model: Model,
    interpreter: AnyInterpreter,
    device: str,
    backend: str,
    threads: int,
    network: str | None,
    ahead: Future[Backend | None] | None = None,
) -> Selection:
    """Say what to try.

    Args:
        model: the model.
        interpreter: what follows the network.
        device: ``auto`` (a CUDA device if there is one), ``cpu``, ``cuda`` (the first), ``cuda:N`` or ``dla``.
        backend: ``auto`` or the name of one, which alone is then tried.
        threads: of the network on a CPU.
        network: file name of the network that was asked for, None to choose the best for each backend.
        ahead: of :func:`open_ahead`, with the same arguments.

    Raises:
        BackendError: if the device or backend cannot be had; a device found wanting is one for ``cuda``, not for
            ``auto``.
        ModelError: if the card names a backend that does not exist.
    """
    check_backend_names(model.card)
    if device == DLA:
        return _select_dla(model, interpreter, backend, threads, network)
    number = parse_device(device)
    if backend != "auto" and device == "auto":
        _check_somewhere(backend)
    elif backend != "auto":
        check_backend(backend, "cpu" if number is None else "cuda")
    kinds = {"cpu": _names("cpu", backend), "cuda": _names("cuda", backend)}

    def on_host(name: str) -> Candidate:
        first = ahead if name == kinds["cpu"][0] else None
        return Candidate(name, "cpu", lambda: _open_host(name, model, interpreter, threads, network, first))

    def on_device(name: str, place: Device) -> Candidate:
        return Candidate(name, place.name, lambda: open_device_path(name, model, interpreter, place, network))

    hosts = tuple(on_host(name) for name in kinds["cpu"])
    # Without a driver there is no device, and nothing to say of it; CuPy takes longer to import than a network to open.
    none = not kinds["cuda"] or (bool(hosts) and not device_driver_present())
    if device == "cpu" or (device == "auto" and none):
        return Selection(hosts)
    try:
        place: Device = CudaDevice(number or 0)
    except BackendError as error:
        if number is not None or not hosts:
            raise
        return Selection(hosts, reason=str(error) if device_driver_present() else None)
    devices = tuple(on_device(name, place) for name in kinds["cuda"])
    return Selection(devices, hosts) if number is not None else Selection((*devices, *hosts))


def _select_dla(
    model: Model, interpreter: AnyInterpreter, backend: str, threads: int, network: str | None
) -> Selection:
    """TensorRT on the accelerator or nothing, when the model is loaded; after a fault what ``cuda`` would take."""
    if backend not in ("auto", "tensorrt"):
        raise BackendError(f"expected backend auto or tensorrt for device {DLA}, got {backend!r}")
    check_backend("tensorrt", "cuda")
    place = CudaDevice(0, dla=True)
    rest = select(model, interpreter, "cuda", backend, threads, network)
    first = Candidate("tensorrt", place.name, lambda: open_device_path("tensorrt", model, interpreter, place, network))
    return Selection((first,), (*rest.wanted, *rest.reserve))


def open_device_path(
    name: str, model: Model, interpreter: AnyInterpreter, device: Device, network: str | None = None
) -> FramePath:
    """Open a backend on a device, run it once, and put the stages around it.

    Raises:
        BackendError: if it cannot be opened or run.
        ModelError: if the card names no network for it.
    """
    from rtseg.runtime.gpu.path import DevicePath

    if interpreter.mirror is not None:
        raise BackendError(f"the card of {model.card.name} asks for flip inference, which runs on the CPU only")
    path = network_for(model, name, on_device=True, network=network)
    with device_faults(f"opening {name}"), device.use(device.stream()):
        backend = create_device_backend(name, path, model.card, device)
        backend.warm_up()
    return DevicePath(model.card, device, backend, interpreter)


def network_for(model: Model, backend: str, on_device: bool, network: str | None = None) -> Path:
    """The network file for a backend: what was asked for, else the first that the card names for it.

    Int8 networks of the form that CPUs are fast on are slow on a device: torch and ONNX Runtime take a float one there.

    Raises:
        BackendError: if the card names none.
        ModelError: if the file is not the card's.
    """
    preferred = next(file for file in model.card.files if file.file == model.path.name)
    if network is not None or (not on_device and preferred.is_for(backend)):
        return model.path
    for file in model.card.files:
        fits = not on_device or backend == "tensorrt" or file.precision != "int8"
        if file.is_for(backend) and fits:
            return verified_model_file(model.path.parent, file)
    raise BackendError(f"the card of {model.card.name} names no network for {backend}{' on a device' * on_device}")


def _open_host(
    name: str,
    model: Model,
    interpreter: AnyInterpreter,
    threads: int,
    network: str | None,
    ahead: Future[Backend | None] | None = None,
) -> FramePath:
    from rtseg.runtime.paths import HostPath

    def wrapped(backend: Backend) -> Backend:
        if interpreter.mirror is not None:
            from rtseg.runtime.backends.flip import FlipBackend

            backend = FlipBackend(backend, interpreter.mirror)
        backend.warm_up()
        return backend

    first = (ahead.result() if ahead is not None else None) or _open_network(name, model, threads, network)
    streams = stream_count(name, threads)

    def open_stream() -> Backend:
        return wrapped(_open_network(name, model, threads, network, streams))

    return HostPath(model.card, wrapped(first), interpreter, streams, open_stream if streams > 1 else None)


def _open_network(name: str, model: Model, threads: int, network: str | None, streams: int = 1) -> Backend:
    return create_backend(name, network_for(model, name, False, network), model.card, threads, streams)


def _names(kind: str, backend: str) -> list[str]:
    if backend == "auto":
        return available_backends(kind)
    try:
        check_backend(backend, kind)
    except BackendError:
        return []
    return [backend]


def _check_somewhere(backend: str) -> None:
    try:
        check_backend(backend, "cpu")
    except BackendError as error:
        try:
            check_backend(backend, "cuda")
        except BackendError:
            raise error from None
