"""Backends run a network file: one small interface, one module a runtime library."""

from __future__ import annotations

from rtseg.runtime.backends.base import Backend, DeviceBackend
from rtseg.runtime.backends.registry import (
    MAX_STREAMS,
    available_backends,
    check_backend,
    check_backend_names,
    create_backend,
    create_device_backend,
    preferred_backends,
    stream_count,
)

__all__ = [
    "MAX_STREAMS",
    "Backend",
    "DeviceBackend",
    "available_backends",
    "check_backend",
    "check_backend_names",
    "create_backend",
    "create_device_backend",
    "preferred_backends",
    "stream_count",
]
