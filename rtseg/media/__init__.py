"""Bags, videos, pictures and cameras in; overlays out."""

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
