"""OpenVINO leaves the process as it was: signals are handled whatever was loaded and closed before."""

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


def test_a_signal_is_handled_after_models_were_closed() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout.strip()) == (0, "[True]"), ended.stderr
