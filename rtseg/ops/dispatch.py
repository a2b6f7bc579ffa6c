"""Where an op runs: on the device that holds its input, or on the CPU."""

from __future__ import annotations

import importlib
from typing import Any


def is_device_array(array: object) -> bool:
    """Say whether `array` lives in CUDA memory (CuPy, or anything with ``__cuda_array_interface__``).

    A torch tensor on the CPU has the attribute but raises when it is read, and so counts as a host array.
    """
    try:
        return getattr(array, "__cuda_array_interface__", None) is not None
    except Exception:  # reading it can raise anything: torch alone uses three exception types
        return False


def device_ops() -> Any:
    """Give the module with the GPU twins of the ops, named and called alike; imported when an array first needs it."""
    return importlib.import_module("rtseg.ops.cuda")
