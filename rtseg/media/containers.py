"""FFmpeg's containers opened as what they are said to be: a file as a file, a stream as a stream, nothing beside it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from rtseg.media.encodings import MAX_PIXELS

FILE_FORMATS = (
    "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "h264", "hevc", "vvc", "av1", "obu", "ivf", "flv",
    "asf", "ogg", "gif", "apng", "mjpeg", "mxf", "nut", "yuv4mpegpipe", "dv", "rm", "wtv", "m4v", "vc1", "swf", "nsv",
    "jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe", "avif", "wav", "mp3", "aac", "flac",
)  # fmt: skip
"""Containers that hold their own frames. Playlists (HLS, DASH, concat, SDP) name other files and addresses."""
STREAM_FORMATS = (*FILE_FORMATS, "rtsp", "rtp", "sdp", "hls", "mpjpeg", "live_flv", "mpegtsraw")
STREAM_PROTOCOLS = ("rtsp", "rtsps", "rtp", "srtp", "srt", "rtmp", "rtmps", "http", "https", "httpproxy", "udp", "tcp")

_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}  # which others have

_ATTACHED_PICTURE = 0x400  # of FFmpeg's dispositions
_TRUSTED = 30  # frames for which a display matrix holds, at least; then it is read from the next key frame


def file_name(path: str | Path) -> str:
    """A file's name for FFmpeg, which takes what stands before a colon for a protocol."""
    return f"file:{Path(path).absolute()}"


def open_file(path: str | Path) -> av.container.InputContainer:
    """Open a media file to read from that file alone, whatever its name."""
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FILE_FORMATS)}
    # Of the container alone: PyAV 12 gives `options` to streams too, which in FLV are not there yet, and crashes.
    return av.open(file_name(path), container_options=options)


def open_stream(url: str, timeout: float) -> av.container.InputContainer:
    """Open a live stream, which may lead to no file of this machine; seconds without an answer are an error."""
    options = {
        "protocol_whitelist": ",".join((*STREAM_PROTOCOLS, "tls", "crypto")),
        "format_whitelist": ",".join(STREAM_FORMATS),
    }
    if url.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # UDP loses parts of frames wherever a network is not idle
    return av.open(url, container_options=options, timeout=timeout)


def videos_in(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Its streams of pictures, without the covers that players show beside music."""
    return [stream for stream in container.streams.video if not _is_cover(stream)]


def _is_cover(stream: av.VideoStream) -> bool:
    disposition = getattr(stream, "disposition", None)  # which PyAV before 13 does not know
    return disposition is not None and bool(int(disposition) & _ATTACHED_PICTURE)


def pictures_of(container: av.container.InputContainer) -> av.VideoStream:
    """The first stream of pictures, of which none may be larger than `MAX_PIXELS`, whatever its headers say."""
    stream = videos_in(container)[0]
    stream.codec_context.options = {**stream.codec_context.options, "max_pixels": str(MAX_PIXELS)}
    return stream


class UprightPictures:
    """Makes pictures of the decoded frames of one stream, as a player shows them: square pixels, turned upright.

    In one thread, and with one converter for all frames: a frame's own would start threads for each.
    """

    def __init__(self) -> None:
        self._converter = VideoReformatter()
        self._matrix: NDArray[np.int32] | None = None
        self._age = -1  # of the matrix, in frames

    def picture(self, frame: av.VideoFrame, aspect: Fraction | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR of the stream's next frame, turned as the display matrix says.

        Args:
            frame: decoded.
            aspect: width of a pixel divided by its height; None or 0 where the file does not say.
        """
        converted = self._converter.reformat(frame, format="bgr24", **_ONE_THREAD)
        image = np.asarray(converted.to_ndarray(), np.uint8)
        if aspect and aspect != 1 and Fraction(1, 4) <= aspect <= 4:
            height, width = image.shape[:2]
            # Never fewer pixels than there are: the shorter side grows.
            size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
            if size != (width, height):
                image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.ascontiguousarray(_turned(image, self._display_matrix(frame)))

    def _display_matrix(self, frame: av.VideoFrame) -> NDArray[np.int32] | None:
        # Side data that was asked for and its frame refer to each other: the frame stays in memory, with all that it
        # holds, until cycles are collected.
        self._age += 1
        if not self._age or (self._age > _TRUSTED and frame.key_frame):
            data: Any = frame.side_data.get("DISPLAYMATRIX")
            self._matrix, self._age = None if data is None else np.frombuffer(bytes(data), np.int32), 0
        return self._matrix


def _turned(image: NDArray[np.uint8], matrix: NDArray[np.int32] | None) -> NDArray[np.uint8]:
    if matrix is None or matrix.size != 9:
        return image
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))  # x' = a x + c y, y' = b x + d y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        across, down = a, d
    else:
        image, across, down = image.transpose(1, 0, 2), c, b
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
