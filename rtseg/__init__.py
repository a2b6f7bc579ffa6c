"""Lane and instance masks at camera rate.

>>> import numpy as np
>>> import rtseg
>>> pipeline = rtseg.load("lanes-lite")
>>> lanes = pipeline(np.zeros((720, 1280, 3), np.uint8))  # (H, W, 3) uint8 BGR; nothing is in the dark
>>> lanes.mask.shape, lanes.ids.tolist(), lanes.sample([400, 500, 600]).shape
((720, 1280), [], (0, 3))
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rtseg.errors import RtsegError
from rtseg.frame import Frame
from rtseg.results import Instances, Lanes

if TYPE_CHECKING:
    from rtseg.loading import load
    from rtseg.runtime import Pipeline

# From 1.32 on ONNX Runtime keeps an id of the machine and events to be sent to its makers, unless this is set when it
# is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__: str
__all__ = ["Frame", "Instances", "Lanes", "Pipeline", "RtsegError", "load"]


def __getattr__(name: str) -> Any:
    # The runtime pulls in Numba and ONNX Runtime, which the torch side and the renderer do without.
    if name == "load":
        from rtseg.loading import load

        return load
    if name == "Pipeline":
        from rtseg.runtime import Pipeline

        return Pipeline
    if name == "__version__":  # of the installed package, which has it from ros/package.xml
        from importlib.metadata import version

        return version("rtseg")
    raise AttributeError(f"module 'rtseg' has no attribute {name!r}")
