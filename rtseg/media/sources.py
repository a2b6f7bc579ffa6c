"""Open whatever holds frames."""

from __future__ import annotations

import re
from pathlib import Path

from rtseg.errors import MediaError
from rtseg.media.bags import BagSource, is_bag
from rtseg.media.cameras import CameraSource
from rtseg.media.frame_source import FrameSource
from rtseg.media.images import IMAGE_SUFFIXES, ImageSource
from rtseg.media.videos import VideoSource

_DEVICE = re.compile(r"(?:/dev/video)?(\d+)")


def open_frames(path: str | Path | int, topic: str | None = None, fps: float | None = None) -> FrameSource:
    """Open a bag, a video, a picture, a folder or glob pattern of pictures, or a camera.

    Args:
        path: file or folder; a number or ``/dev/videoN`` is a camera.
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
    if fps is not None and not 0 < fps < 1e6:
        raise MediaError(f"expected a rate above 0 frames a second, got {fps}; leave it out for stills")
    source = _open(Path(str(path)), topic, fps)
    if fps is not None and not isinstance(source, ImageSource):
        source.close()
        raise MediaError(f"expected pictures to give a rate of {fps:g} to, got {path}, which has its own; leave it out")
    return source


def _open(path: Path, topic: str | None, fps: float | None) -> FrameSource:
    device = _DEVICE.fullmatch(str(path))
    if device and not path.is_dir():
        return CameraSource(int(device[1]))
    if not path.exists():
        if any(c in str(path) for c in "*?["):
            return ImageSource(path, fps)
        raise MediaError(f"expected a bag, video, picture or folder, got {path} that does not exist; check the path")
    if is_bag(path):
        return BagSource(path, topic)
    if topic is not None:
        raise MediaError(f"expected a bag to read topic {topic} from, got {path}; leave the topic out")
    if path.is_dir():
        bags = sorted(p.name for p in path.iterdir() if p.suffix == ".bag" or (p.is_dir() and is_bag(p)))
        if bags:
            raise MediaError(f"expected one recording, got folder {path} with {', '.join(bags)}; name one of them")
        return ImageSource(path, fps)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(path, fps)
    return VideoSource(path)
