"""Memory and power, read where the system gives them; where it does not, why."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from rtseg.lab.bench.result import Measured

_SAMPLE_SECONDS = 0.05
_NO_DEVICE = "frames run on the CPU"


def resident_memory() -> Measured:
    """Memory of this process that is in RAM."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError as error:
        return Measured(unit="MiB", reason=f"no /proc here: {error}")
    kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))
    return Measured(value=round(kilobytes / 1024, 1), unit="MiB", how="VmRSS of the process")


def device_memory(card: int | None) -> Measured:
    """Memory in use on a card, by all its processes; `card` is CUDA's number of it, None where there is none."""
    if card is None:
        return Measured(unit="MiB", reason=_NO_DEVICE)
    try:
        return Measured(
            value=round(_Nvml(card).used_bytes() / 2**20, 1), unit="MiB", how="NVML, all processes of the card"
        )
    except OSError as error:
        return Measured(unit="MiB", reason=str(error))


class PowerMeter:
    """Mean power over a ``with`` block, from the best source there is.

    An energy counter (NVML's, or RAPL's) is read before and after; a Jetson's INA sensors are sampled meanwhile.

    Args:
        card: CUDA's number of the card that the frames run on, whose own power is then meant; None on a CPU.
        sysfs: where the kernel shows its sensors.
    """

    def __init__(self, card: int | None, sysfs: Path = Path("/sys")) -> None:
        self._counter, self._sample, self._how, self._reasons = None, None, "", []
        self._sampled: list[float] = []
        self._spent = self._seconds = 0.0
        try:
            self._counter, self._how = _rapl(sysfs) if card is None else _nvml_energy(card)
            return
        except OSError as error:
            self._reasons.append(str(error))
        try:
            self._sample, self._how = _ina(sysfs)
        except OSError as error:
            self._reasons.append(str(error))

    def __enter__(self) -> PowerMeter:
        self._start = time.perf_counter()
        self._before = self._counter() if self._counter else 0.0
        if self._sample:
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._watch, name="rtseg-power", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seconds += time.perf_counter() - self._start
        if self._counter:
            self._spent += self._counter() - self._before
        if self._sample:
            self._ended.set()
            self._thread.join()

    def power(self) -> Measured:
        """Mean over all blocks so far."""
        if self._counter and self._seconds:
            # A counter that wrapped went backwards.
            if self._spent < 0:
                return Measured(unit="W", reason=f"the counter of {self._how} wrapped")
            return Measured(value=round(self._spent / self._seconds, 2), unit="W", how=self._how)
        if self._sampled:
            return Measured(value=round(float(np.mean(self._sampled)), 2), unit="W", how=self._how)
        return Measured(unit="W", reason="; ".join(self._reasons) or "nothing was sampled")

    def _watch(self) -> None:
        assert self._sample is not None
        while True:
            try:
                self._sampled.append(self._sample())
            except OSError:
                return
            if self._ended.wait(_SAMPLE_SECONDS):
                return


def _rapl(sysfs: Path) -> tuple[Callable[[], float], str]:
    """Joules of all processor packages."""
    counters = sorted(sysfs.glob("class/powercap/*-rapl:[0-9]/energy_uj"))
    if not counters:
        raise OSError("no RAPL counters (virtual machines have none)")
    for counter in counters:
        try:
            counter.read_text()
        except PermissionError:
            raise OSError(f"{counter} can be read by root only") from None
    return lambda: sum(int(counter.read_text()) for counter in counters) * 1e-6, "RAPL, processor packages"


def _ina(sysfs: Path) -> tuple[Callable[[], float], str]:
    """Watts of a Jetson's module: of its input where that is measured, or else of all the rails that are.

    Thor's input has an INA238, Orin NX's and Nano's a rail of the INA3221. AGX Orin measures GPU, CPU, 5 V and memory
    one beside the other.
    """
    inputs = sorted(sysfs.glob("bus/i2c/drivers/ina238/*/hwmon/hwmon*/power1_input"))
    if inputs:
        return lambda: sum(int(file.read_text()) for file in inputs) * 1e-6, "INA238, module's input"
    rails: dict[str, tuple[Path, Path]] = {}
    for label in sorted(sysfs.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[0-9]_label")):
        number = label.name[2:].partition("_")[0]
        files = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
        if all(file.is_file() for file in files) and (name := label.read_text().strip()) != "NC":
            rails[name] = files
    # Orin NX's and Nano's input, Xavier's, and what carrier boards call theirs.
    for name in ("VDD_IN", "VDD_5V_IN", "SYS_VIN_HV"):
        if name in rails:
            return partial(_watts, *rails[name]), f"INA3221, rail {name}"
    if not rails:
        raise OSError("no INA3221 or INA238 sensor of a module")
    return lambda: sum(_watts(*files) for files in rails.values()), f"INA3221, rails {' + '.join(rails)}"


def _watts(millivolts: Path, milliamperes: Path) -> float:
    return int(millivolts.read_text()) * int(milliamperes.read_text()) * 1e-6


class _Nvml:
    """The few functions of the driver's management library that are needed.

    Args:
        card: CUDA's number of the card, which is not NVML's: the two order cards in ways of their own, and CUDA may be
            shown some only. Both know the place on the PCI bus.

    Raises:
        OSError: there is no such library, card or function.
    """

    def __init__(self, card: int) -> None:
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        self._call("nvmlInit_v2")
        self._card = ctypes.c_void_p()
        place = ctypes.c_char_p(_pci_bus_id(card).encode())
        self._call("nvmlDeviceGetHandleByPciBusId_v2", place, ctypes.byref(self._card))

    def millijoules(self) -> int:
        value = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._card, ctypes.byref(value))
        return value.value

    def used_bytes(self) -> int:
        sizes = (ctypes.c_ulonglong * 3)()  # total, free, used
        self._call("nvmlDeviceGetMemoryInfo", self._card, ctypes.byref(sizes))
        return int(sizes[2])

    def _call(self, name: str, *arguments: object) -> None:
        try:
            code = getattr(self._library, name)(*arguments)
        except AttributeError as error:
            raise OSError(f"NVML has no {name}") from error
        if code:
            raise OSError(f"{name} gave NVML error {code}")


def _pci_bus_id(card: int) -> str:
    try:
        import cupy

        return str(cupy.cuda.Device(card).pci_bus_id)
    except Exception as error:  # CuPy raises many kinds
        raise OSError(f"the card's place on the PCI bus is not known: {type(error).__name__}: {error}") from error


def _nvml_energy(card: int) -> tuple[Callable[[], float], str]:
    nvml = _Nvml(card)
    nvml.millijoules()  # cards before Volta have no such counter
    return lambda: nvml.millijoules() * 1e-3, "NVML energy counter of the card"
