"""Backends run a network file: one small interface, one module a runtime library."""

from __future__ import annotations

from rtseg.runtime.backends.base import (
    Backend,
    DeviceBackend,
    available_backends,
    check_backend,
    create_backend,
    create_device_backend,
    preferred_backends,
)

__all__ = [
    "Backend",
    "DeviceBackend",
    "available_backends",
    "check_backend",
    "create_backend",
    "create_device_backend",
    "preferred_backends",
]
