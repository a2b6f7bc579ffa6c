"""OpenVINO leaves the process as it was: signals are handled, names are there, threads need not wait for each other."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, os, signal
import numpy as np
import rtseg

picture = np.zeros((360, 640, 3), np.uint8)
opened = [rtseg.load(name, backend="openvino", device="cpu") for name in ("lanes-lite", "instances-lite")]
for pipeline in opened:
    pipeline(picture)
while opened:
    opened.pop(0).close()  # the first one first
    gc.collect()
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
os.kill(os.getpid(), signal.SIGTERM)
print(heard)
"""


@pytest.mark.slow
def test_a_signal_is_handled_after_models_were_closed() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "[True]"), ended.stderr


def test_the_converter_is_there_for_whoever_asks() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    program = """
import sys
import rtseg
rtseg.load("lanes-lite", backend="openvino", device="cpu")
before = "openvino.tools.ovc" in sys.modules
import openvino
from openvino import convert_model
from openvino.tools import ovc
print(before, convert_model is ovc.convert_model, hasattr(openvino, "no_such_name"))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "False True False"), ended.stderr


def test_a_converter_that_is_there_already_stays() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    program = "import openvino; had = openvino.convert_model; import rtseg.runtime.backends.openvino; print("
    program += "openvino.convert_model is had, hasattr(openvino, '__getattr__'))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "True False"), ended.stderr


@pytest.mark.slow
def test_models_are_loaded_in_two_threads_at_once() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    program = """
import threading
import numpy as np
import rtseg

def go(name):
    rtseg.load(name, backend="openvino", device="cpu")(np.zeros((360, 640, 3), np.uint8))

threads = [threading.Thread(target=go, args=("lanes-lite",)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    for _ in range(6):  # of processes whose threads could wait for each other for ever one in three did
        subprocess.run([sys.executable, "-c", program], check=True, timeout=45)
