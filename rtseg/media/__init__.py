"""Bags, videos, pictures and cameras in; overlays out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtseg.media.compressed import decode_compressed
    from rtseg.media.encodings import decode_image, raw_image
    from rtseg.media.frame_source import FrameSource
    from rtseg.media.overlay import draw_instances, draw_lanes
    from rtseg.media.sources import open_frames

__all__ = [
    "FrameSource",
    "decode_compressed",
    "decode_image",
    "draw_instances",
    "draw_lanes",
    "open_frames",
    "raw_image",
]

_PLACES = {
    "FrameSource": "frame_source",
    "decode_compressed": "compressed",
    "decode_image": "encodings",
    "draw_instances": "overlay",
    "draw_lanes": "overlay",
    "open_frames": "sources",
    "raw_image": "encodings",
}


def __getattr__(name: str) -> Any:
    # A node that decodes messages and draws needs none of the readers of bags and videos, which take long to import.
    if name in _PLACES:
        return getattr(import_module(f"rtseg.media.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'rtseg.media' has no attribute {name!r}")
