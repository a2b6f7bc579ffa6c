"""Open whatever holds frames."""

from __future__ import annotations

import re
from pathlib import Path

from rtseg.errors import MediaError
from rtseg.media.bags import BagSource, is_bag
from rtseg.media.cameras import CameraSource
from rtseg.media.damage import damage_noted
from rtseg.media.frame_source import FrameSource
from rtseg.media.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES, ImageSource, is_picture
from rtseg.media.storage.kinds import refuse_packed, refuse_pointer, suffix_of
from rtseg.media.streams import StreamSource, is_url, masked
from rtseg.media.videos import VideoSource

_DEVICE = re.compile(r"(?:/dev/video)?([0-9]{1,4})")  # more digits are a name that was mistyped
_NUMBERED = re.compile(r"%\d*d")


def open_frames(path: str | Path | int, topic: str | None = None, fps: float | None = None) -> FrameSource:
    """Open a bag, a video, a picture, a folder or glob pattern of pictures, a camera or a network camera's stream.

    Args:
        path: file or folder; a number or ``/dev/videoN`` is a camera (a file of that name is ``./N``), an address
            such as ``rtsp://host/stream`` a stream.
        topic: image topic of a bag, where it has several cameras.
        fps: makes a stream of pictures, so many a second; without they are stills.

    Raises:
        MediaError: there is nothing there that can be read, or it has a rate of its own.

    Example:
        >>> import tempfile, cv2
        >>> folder = tempfile.TemporaryDirectory()
        >>> written = cv2.imwrite(f"{folder.name}/one.png", np.zeros((48, 64, 3), np.uint8))
        >>> with open_frames(folder.name, fps=10) as frames:
        ...     for frame in frames:
        ...         print(frame.stamp, frame.image.shape)
        0 (48, 64, 3)
        >>> folder.cleanup()
    """
    if fps is not None and not 1e-6 <= fps < 1e6:
        raise MediaError(f"expected a rate above 0, 1e-6 to 1e6 frames a second, got {fps}; leave it out for stills")
    with damage_noted() as said:
        source = _open(str(path), topic, fps)
    source.damage += [sentence for sentence in said if sentence not in source.damage]
    if fps is not None and not isinstance(source, ImageSource):
        source.close()
        raise MediaError(f"expected pictures to give a rate of {fps:g} to, got {path}, which has its own; leave it out")
    return source


def _open(named: str, topic: str | None, fps: float | None) -> FrameSource:
    if not named:
        raise MediaError(
            "expected a bag, video, picture, folder or stream, got no name; check what was to be filled in"
        )
    path = Path(named)
    device = _DEVICE.fullmatch(named)
    if device and not path.is_dir():
        return CameraSource(int(device[1]))
    if not path.exists():
        return _open_elsewhere(named, fps)
    if path.is_file():
        refuse_pointer(path)
    elif not path.is_dir():
        raise MediaError(f"expected a file or a folder, got {path}, which is a pipe or a device; save it as a file")
    if is_bag(path):
        return BagSource(path, topic)
    if topic is not None:
        raise MediaError(f"expected a bag to read topic {topic} from, got {path}; leave the topic out")
    if path.is_dir():
        bags = sorted(p.name for p in path.iterdir() if suffix_of(p) or (p.is_dir() and is_bag(p)))
        if bags:
            raise MediaError(f"expected one recording, got folder {path} with {', '.join(bags)}; name one of them")
        return ImageSource(path, fps)
    if path.suffix.lower() in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES) or is_picture(path):
        return ImageSource(path, fps)
    refuse_packed(path)
    return VideoSource(path)


def _open_elsewhere(named: str, fps: float | None) -> FrameSource:
    """What is no file: an address, or a pattern."""
    if is_url(named):
        return StreamSource(named)
    if any(c in named for c in "*?["):
        return ImageSource(named, fps)
    hint = f"write {re.sub(_NUMBERED, '*', named)}" if _NUMBERED.search(named) else "check the path"
    raise MediaError(
        f"expected a bag, video, picture, folder or stream, got {masked(named)} that does not exist; {hint}"
    )
