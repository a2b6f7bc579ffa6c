"""What there is on this machine that frames could run on, found without loading a model."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rtseg.counted import counted
from rtseg.errors import BackendError
from rtseg.runtime.device import device_driver_present
from rtseg.runtime.tensorrt import cache_folder, find_tensorrt, list_engines

# Fast DDS reads the first on Humble and Jazzy, the second on Kilted and later.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_FRAME_BYTES = 1280 * 720 * 3
_ROS_SECONDS = 30
_DRIVERS = {12: "R525 or later", 13: "R580 or later"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        what: its name.
        found: what there is, or what is lost without it.
        fault: why something that was asked for cannot work, else None.
    """

    what: str
    found: str
    fault: str | None = None


def listed(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Each finding as its name and what is said of it."""
    return [(finding.what, finding.fault or finding.found) for finding in findings]


def look_around(*wanted: str) -> list[Finding]:
    """Look at processor, cards, libraries, ROS and the engine cache, or at those of them that are named."""
    checks: list[tuple[str, Callable[[], Finding | str]]] = [
        ("python", lambda: f"{platform.python_version()} on {sys.platform} {platform.machine()}"),
        ("cores", _cores),
        ("governor", _governor),
        ("memory", _memory),
        ("nvidia driver", _driver),
        ("cards", _cards),
        ("cupy", _cupy),
        ("nvrtc", _nvrtc),
        ("tensorrt", _tensorrt),
        ("engine cache", _engine_cache),
        ("torch", _torch),
        ("onnxruntime", _onnxruntime),
        (
            "openvino",
            lambda: _version("openvino") or "not installed: no OpenVINO backend (pip install 'rtseg[openvino]')",
        ),
        ("ros", _ros),
        ("large frames", _large_frames),
    ]
    findings = []
    for what, check in checks:
        if wanted and what not in wanted:
            continue
        try:
            found = check()
        except Exception as error:  # a broken library must not hide the rest
            found = Finding(what, "broken", f"{type(error).__name__}: {error}")
        findings.append(found if isinstance(found, Finding) else Finding(what, found))
    return findings


def has_card() -> bool:
    """Whether CuPy finds a CUDA device."""
    return not _no_card()


def _version(*distributions: str) -> str | None:
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = str(usable) if usable == os.cpu_count() else f"{usable} of {os.cpu_count()} (this process is bound to them)"
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return text
    return text if quota == "max" else f"{text}, limited to the time of {int(quota) / int(period):g} by its cgroup"


def _governor() -> str:
    try:
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "cannot be read here"
    return f"{governor}: latency varies; use performance" if governor in ("powersave", "ondemand") else governor


def _memory() -> str:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return "cannot be read here"
    sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in text.splitlines()}
    return f"{sizes['MemTotal']:.1f} GiB, {sizes['MemAvailable']:.1f} GiB available"


def _driver() -> str:
    for path in ("/proc/driver/nvidia/version", "/etc/nv_tegra_release"):
        try:
            return Path(path).read_text().splitlines()[0].strip()
        except (OSError, IndexError):
            continue
    return "none"


def _no_card() -> str | None:
    """Why CuPy finds no card; None if it does."""
    if find_spec("cupy") is None:
        return "not looked for: CuPy is not installed"
    import cupy

    try:
        return None if cupy.cuda.runtime.getDeviceCount() else "none"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if device_driver_present() and "InsufficientDriver" in str(error):
            major = cupy.cuda.runtime.runtimeGetVersion() // 1000
            needed = _DRIVERS.get(major, "a newer one")
            return (
                f"none: the driver is older than CUDA {major}, which this CuPy is for; it needs {needed} "
                "(for an older one: pip uninstall cupy-cuda13x, then pip install 'rtseg[gpu-cuda12]')"
            )
        return f"none: {error}" if device_driver_present() else "none: no NVIDIA driver"


def _cards() -> str:
    reason = _no_card()
    if reason is not None:
        return reason
    import cupy

    cards = []
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        facts = cupy.cuda.runtime.getDeviceProperties(number)
        shared = ", shares the CPU's memory" if facts.get("integrated") else ""
        cards.append(
            f"cuda:{number} {facts['name'].decode()}, compute capability {facts['major']}.{facts['minor']}, "
            f"{facts['totalGlobalMem'] / 2**30:.1f} GiB{shared}"
        )
    return "; ".join(cards)


def _cupy() -> str:
    found = _version("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy")
    if find_spec("cupy") is None:
        return "not installed: nothing runs on a card (pip install 'rtseg[gpu]')"
    import cupy

    # Only what was linked into CuPy; the runtime library itself is loaded when a card is used.
    return f"{found or cupy.__version__}, for CUDA {cupy.cuda.runtime.runtimeGetVersion() // 1000}"


def _nvrtc() -> Finding | str:
    if find_spec("cupy") is None:
        return "not looked for: CuPy is not installed"
    from cupy.cuda import nvrtc

    try:
        major, minor = nvrtc.getVersion()
    except Exception as error:  # a missing library is a RuntimeError or ImportError, by CuPy's version
        text = f"does not load ({error}): kernels cannot be compiled; pip install nvidia-cuda-nvrtc"
        return Finding("nvrtc", text, text if has_card() else None)
    return f"{major}.{minor}"


def _tensorrt() -> Finding | str:
    try:
        library = find_tensorrt()
    except BackendError as error:
        installed = [name for name in ("tensorrt", "tensorrt_rtx") if find_spec(name) is not None]
        return Finding("tensorrt", "broken", str(error)) if installed else str(error)
    text = f"{library.version}{' for RTX' if library.for_rtx else ''}"
    both = all(find_spec(name) is not None for name in ("tensorrt", "tensorrt_rtx"))
    return f"{text}; TensorRT for RTX too, which is not used beside it" if both else text


def _engine_cache() -> Finding | str:
    folder = cache_folder()
    asked = "RTSEG_ENGINE_CACHE" in os.environ
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}): engines would be compiled at every start"
        cure = "set RTSEG_ENGINE_CACHE to a folder that can"
        return Finding("engine cache", str(folder), f"{text}; {cure}") if asked or has_card() else f"{text}; {cure}"
    states = list_engines(folder)
    broken = [state.path.name for state in states if state.fault]
    text = f"{folder}, {counted(len(states), 'engine')}"
    return f"{text}, of which broken and built again when used: {', '.join(broken)}" if broken else text


def _torch() -> str:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "not installed: no training, no export, no torch backend"
    # Importing torch takes seconds; it notes what it was built for in a file.
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        text = ""
    cuda = re.search(r"^cuda\b[^=]*= '([\d.]+)'", text, re.MULTILINE)
    return f"{_version('torch')}, {f'for CUDA {cuda[1]}' if cuda else 'for CPUs'}"


def _onnxruntime() -> str:
    import onnxruntime

    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return f"{onnxruntime.__version__}, providers: {', '.join(providers)}"


def _ros() -> Finding | str:
    if find_spec("rclpy") is None:
        hint = "source /opt/ros/<distribution>/setup.bash, or pip install 'rtseg[ros]'"
        return f"not found: no node and no demo ({hint})"
    # In a process of its own: rcl ends the process where RMW_IMPLEMENTATION names one that is not there.
    code = "import rclpy; print(rclpy.get_rmw_implementation_identifier())"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_ROS_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("ros", "rclpy", f"rclpy does not answer within {_ROS_SECONDS} s")
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no reason given"]
        asked = os.environ.get("RMW_IMPLEMENTATION")
        cure = f"; RMW_IMPLEMENTATION asks for {asked}: install or unset it" if asked else ""
        return Finding("ros", "rclpy", f"rclpy does not load: {lines[-1]}{cure}")
    known = ("jazzy", "kilted", "lyrical", "humble")
    installed = (name for name in known if _version(f"ros-{name}-rclpy"))
    distribution = os.environ.get("ROS_DISTRO") or next(installed, "unknown distribution")
    return f"{distribution}, {answer.stdout.strip()}"


def _large_frames() -> Finding | str:
    middleware = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if "fastrtps" not in middleware:
        return f"not looked at: {middleware} has settings of its own"
    named = {variable: value for variable in _PROFILE_VARIABLES if (value := os.environ.get(variable))}
    if not named:
        return (
            f"no Fast DDS profile ({' or '.join(_PROFILE_VARIABLES)}): raw frames from other processes get lost; "
            "rtseg's launch files and demo set one, other publishers need it too"
        )
    faults = [fault for variable, value in named.items() for fault in _profile_faults(variable, Path(value))]
    text = ", ".join(f"{variable}={value}" for variable, value in named.items())
    return Finding("large frames", text, "; ".join(faults)) if faults else text


def _profile_faults(variable: str, path: Path) -> Iterator[str]:
    try:
        elements = list(ElementTree.parse(path).iter())
    except (OSError, ElementTree.ParseError) as error:
        yield f"{variable} names {path}, which Fast DDS cannot read: {error}"
        return
    sizes = [(element.text or "").strip() for element in elements if element.tag.endswith("segment_size")]
    segments = [int(size) for size in sizes if size.isdigit()]
    if max(segments, default=0) < _FRAME_BYTES:
        yield (
            f"the profile {path} has no shared-memory segment that holds a frame of {_FRAME_BYTES:,} bytes; "
            "use ros/config/fastdds_large_frames.xml"
        )
