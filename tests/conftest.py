"""Shared test settings: hypothesis profiles, and markers that skip with a reason where a real part is missing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# CI tries the same examples every time, so that a red run means a change; elsewhere they are drawn afresh.
# No verdict hangs on time: a busy machine is no fault of the code's.
UNTIMED = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("default", max_examples=50, derandomize="CI" in os.environ, **UNTIMED)
hypothesis.settings.register_profile("quick", max_examples=10, derandomize="CI" in os.environ, **UNTIMED)
hypothesis.settings.register_profile("thorough", max_examples=2000, **UNTIMED)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A shell that starts the tests in the background has them and all their children ignore Ctrl-C, which several wait for.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


def _gpu_missing() -> str | None:
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device: {error}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files of most slow tests first, so that no worker is left with one when the others have ended.
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
    reason = _gpu_missing()
    if reason:
        for item in items:
            if item.get_closest_marker("gpu") is not None:  # not the keyword: a folder is named so too
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    # With -v the line that says that a test failed says why: of a long log often only a part is at hand.
    crash = getattr(report.longrepr, "reprcrash", None)
    if not report.failed or crash is None:
        return None
    kind, letter = ("failed", "F") if getattr(report, "when", "") == "call" else ("error", "E")
    reason = crash.message.partition("\n")[0]
    return kind, letter, f"{'FAILED' if kind == 'failed' else 'ERROR'} ({reason[:300]})"


@pytest.fixture(scope="session")
def driving_data() -> Path:
    """Folder of real driving data beside the repository; tests that need it skip, saying so, where it is absent."""
    folder = Path(os.environ.get("RTSEG_DRIVING_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real driving data is not at {folder} (set RTSEG_DRIVING_DATA)")
    return folder


@pytest.fixture(scope="session")
def shim_folder() -> Path:
    """Folder for the CUDA kernels built for the CPU (tests/ops/cuda/shim): kept, since what is in it has their hash."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed, and the kernels cannot be built for the CPU")
    folder = REPOSITORY / "build" / "shim"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shim_library(shim_folder: Path) -> Path:
    """The CUDA kernels built for the CPU."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "ops" / "cuda" / "shim"))  # imported without touching the path
    from shim_build import build

    return build(shim_folder)
