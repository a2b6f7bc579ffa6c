"""Where memory does not suffice that is what is told, and not that the model is to be made again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtseg import cli
from rtseg.errors import BackendError, ModelError, lacks_memory
from rtseg.runtime.backends.loading_faults import cannot_load

SAID = [  # by the libraries, when it was so
    RuntimeError("Exception from src/inference/src/cpp/core.cpp:117: Exception from plugin.cpp:54: std::bad_alloc"),
    RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Load model from model.onnx failed:std::bad_alloc"),
    MemoryError("Unable to allocate 6.00 MiB for an array with shape (1, 3, 512, 1024) and data type float32"),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 2764800 bytes"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
]


@pytest.mark.parametrize("error", SAID, ids=lambda error: type(error).__name__)
def test_little_memory_is_told_as_such(error: Exception, tmp_path: Path) -> None:
    assert lacks_memory(error)
    told = cannot_load("OpenVINO", tmp_path / "model.onnx", error)
    assert isinstance(told, BackendError)
    assert "too little memory" in str(told)
    assert "export" not in str(told)


@pytest.mark.parametrize("error", [RuntimeError("unknown operator Foo"), ValueError("protobuf parsing failed")])
def test_a_network_that_is_none_is_to_be_exported_again(error: Exception, tmp_path: Path) -> None:
    assert not lacks_memory(error)
    told = cannot_load("OpenVINO", tmp_path / "model.onnx", error)
    assert isinstance(told, ModelError)
    assert "export the model again" in str(told)


@pytest.mark.parametrize("error", [SAID[2], SAID[4], MemoryError()], ids=["NumPy", "OpenCV", "Python"])
def test_a_command_ends_with_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "expected more memory than is left" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_process_that_may_take_little_more_says_so() -> None:
    script = """
import resource
import rtseg
from rtseg.errors import RtsegError
rtseg.load("lanes-lite", backend="onnxruntime", threads=1).close()  # all libraries are there
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (2 << 20),) * 2)  # the file alone is larger
try:
    rtseg.load("daffnet-base", backend="onnxruntime", threads=1)
except RtsegError as error:
    print(type(error).__name__, error)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert "BackendError" in ended.stdout, ended.stdout + ended.stderr
    assert "too little memory" in ended.stdout
