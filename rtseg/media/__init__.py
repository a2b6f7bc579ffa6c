"""Bags, videos, pictures and cameras in; overlays out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtseg.lazy import lazily

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

# A node that decodes messages and draws needs none of the readers of bags and videos, which take long to import.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "compressed": ("decode_compressed",),
        "encodings": ("decode_image", "raw_image"),
        "frame_source": ("FrameSource",),
        "overlay": ("draw_instances", "draw_lanes"),
        "sources": ("open_frames",),
    },
)
