"""Which TensorRT this machine has: the full library (10 on Jetson, 11) or TensorRT for RTX; both share one API."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from rtseg.errors import BackendError

# The full library comes first: it also runs on data-center cards and on Jetson, and tunes on the device.
_MODULES = ("tensorrt", "tensorrt_rtx")

# What TensorRT for RTX can build for without the card at hand.
RTX_TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")


@dataclass(frozen=True)
class TensorRT:
    """An imported TensorRT.

    Attributes:
        module: the Python module, ``tensorrt`` or ``tensorrt_rtx``.
        version: its version, for instance ``10.3.0``.
        for_rtx: whether it is TensorRT for RTX.
    """

    module: Any
    version: str
    for_rtx: bool

    @property
    def tag(self) -> str:
        """Version as written in engine names: ``10.3.0``, or ``rtx1.7.1`` for TensorRT for RTX."""
        return f"rtx{self.version}" if self.for_rtx else self.version


@cache
def find_tensorrt() -> TensorRT:
    """Import the TensorRT of this machine.

    Raises:
        BackendError: if none is installed, or the one installed does not load.
    """
    for name in _MODULES:
        if find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            raise BackendError(f"{name} is installed but does not load: {error}; install it again") from error
        return TensorRT(module, module.__version__, name == "tensorrt_rtx")
    raise BackendError(
        "expected TensorRT, found none: it comes with JetPack on a Jetson; for RTX cards pip install 'rtseg[tensorrt]'"
    )


def current_target() -> str:
    """Compute capability of the current CUDA device, the first unless chosen otherwise, as ``sm89``.

    Raises:
        BackendError: if CuPy or a CUDA device is missing.
    """
    properties = _device_properties()
    return f"sm{properties['major']}{properties['minor']}"


def current_card() -> str:
    """Model of the current CUDA device for the names of files: ``nvidia-l4-58sm``, ``orin-16sm``.

    Cards of one compute capability differ in what is fastest on them, and some of one name (the modules of a Jetson,
    slices of a card) in their multiprocessors; engines that the full TensorRT tuned on one are not for the others.

    Raises:
        BackendError: if CuPy or a CUDA device is missing.
    """
    properties = _device_properties()
    name = re.sub(r"[^a-z0-9]+", "-", properties["name"].decode(errors="replace").lower()).strip("-")
    return f"{name}-{properties['multiProcessorCount']}sm"


def _device_properties() -> dict[str, Any]:
    if find_spec("cupy") is None:
        raise BackendError("expected CuPy to look for a CUDA device, found none: pip install 'rtseg[gpu]'")
    import cupy

    try:
        properties: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"expected a CUDA device for --target current, found none ({error}); name a target, for instance sm89"
        ) from error
    return properties


def check_target(library: TensorRT, target: str) -> str:
    """Return `target` with ``current`` resolved, if `library` can build for it.

    Raises:
        BackendError: if it cannot.
    """
    if target == "current":
        target = current_target()
    if not re.fullmatch(r"sm\d{2,3}", target):
        raise BackendError(f"expected a target such as sm87, sm89 or current, got {target!r}")
    if library.for_rtx and target not in RTX_TARGETS:
        raise BackendError(
            f"TensorRT for RTX builds for {', '.join(RTX_TARGETS)}, not for {target}, which the full TensorRT does: "
            "pip install tensorrt, or use backend torch"
        )
    if not library.for_rtx and target != current_target():
        raise BackendError(
            f"TensorRT {library.version} builds only for the card it runs on, not for {target}; compile on that card"
        )
    return target
