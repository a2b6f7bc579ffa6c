"""The package openvino, imported without its converter of networks, until somebody asks for that.

The converter and its telemetry are two thirds of what importing openvino takes, and nothing here converts.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["openvino"]

_CONVERTER = "openvino.tools.ovc"


def _convert_model_when_asked(name: str) -> Any:
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    from openvino.tools.ovc import convert_model

    openvino.convert_model = convert_model
    return convert_model


_left_out = "openvino" not in sys.modules
if _left_out:
    # Which openvino takes for a package that is not there.
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
try:
    import openvino
finally:
    if _left_out:
        del sys.modules[_CONVERTER]
if not hasattr(openvino, "convert_model"):
    openvino.__getattr__ = _convert_model_when_asked
