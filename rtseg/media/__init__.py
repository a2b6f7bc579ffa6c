"""Bags, videos, pictures and cameras in; overlays, videos and result bags out."""

from rtseg.media.encodings import decode_compressed, decode_image, raw_image
from rtseg.media.frame_source import FrameSource
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.media.result_bag import ResultBag
from rtseg.media.sources import open_frames
from rtseg.media.video_writer import VideoWriter

__all__ = [
    "FrameSource",
    "ResultBag",
    "VideoWriter",
    "decode_compressed",
    "decode_image",
    "draw_instances",
    "draw_lanes",
    "open_frames",
    "raw_image",
]
