"""A run for the Rerun viewer, as a file and live (needs the extra ``rerun``)."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, MediaError
from rtseg.files import Part
from rtseg.frame import Frame
from rtseg.lanes import GroundPlane
from rtseg.media.overlay import color_of
from rtseg.messages import ground_lines
from rtseg.printing import visible
from rtseg.results import Instances, Lanes, class_name

if TYPE_CHECKING:
    from rtseg.camera import Camera

FILE_ONLY, LIVE = "rrd", "rerun"
FILE = "result.rrd"
URLS = ("rerun+http://", "rerun+https://")
_END = b"RRF2FOOT"
_PATIENCE = 5.0  # seconds for a live viewer to take the last frames, and in which a file grows that is being written
_QUALITY = 85
_OPACITY = 0.5
_TRAIL = 60  # frames of an object's track
_CLASSES = 240  # ids whose colors the viewer is told: whole palettes, in uint8
_log = logging.getLogger(__name__)


class RerunView:
    """Gives frames and what was found in them to the viewer: masks, lines, boxes, tracks, the ground, times.

    They are written to ``result.rrd`` and, live, go to the viewer of this machine, which is started if none runs yet
    and there is a display, or to one elsewhere. A viewer that is closed, or slow, ends nothing.

    Entities: ``camera`` (``image``, ``mask``, ``lanes`` or ``objects``, ``tracks``), ``ground/lanes`` in metres of the
    vehicle frame where there is a calibration, ``times/STAGE`` in milliseconds, ``found``. Time lines: ``frame``
    counts, ``stamp`` is the frames' own.

    Args:
        out: folder of the file.
        name: of the recording.
        camera: calibration; None for no ground.
        classes: names of the objects.
        view: ``rrd`` for the file alone, ``rerun`` for a live viewer of this machine too, or the URL of one, such as
            ``rerun+http://laptop:9876/proxy``.

    Raises:
        ConfigError: the package rerun-sdk is not installed, or `view` is none of these.
        MediaError: the file cannot be written.
    """

    def __init__(
        self,
        out: Path,
        name: str,
        camera: Camera | None = None,
        classes: tuple[str, ...] = (),
        view: str = FILE_ONLY,
    ) -> None:
        if view not in (FILE_ONLY, LIVE) and not view.startswith(URLS):
            raise ConfigError(
                f"expected --view {FILE_ONLY}, {LIVE} or {URLS[0]}HOST:9876/proxy, got {view}; choose one"
            )
        try:
            import rerun
            import rerun.blueprint
        except ImportError as error:
            raise ConfigError(
                "expected the package rerun-sdk for --view, found none; pip install 'rtseg[rerun]'"
            ) from error
        self._rerun: Any = rerun
        self._camera, self._classes = camera, classes
        self._plane: tuple[tuple[int, int], GroundPlane] | None = None
        self._tracks: dict[int, deque[NDArray[np.float32]]] = {}
        self._number = 0
        self._recording: Any = rerun.RecordingStream("rtseg")
        self._part = Part(out / FILE)
        views = rerun.blueprint
        times = views.TimeSeriesView(origin="times", name="milliseconds")
        beside = [views.Spatial3DView(origin="ground", name="ground, metres")] if camera else []
        layout = views.Blueprint(
            views.Horizontal(
                views.Spatial2DView(origin="camera", name=visible(name)),
                views.Vertical(*beside, times),
                column_shares=[2, 1],
            ),
            collapse_panels=True,
        )
        try:
            sinks = [rerun.FileSink(self._part.path), *self._viewers(view)]
            self._recording.set_sinks(*sinks, default_blueprint=layout)
        except ConfigError:
            self._part.discard()
            raise
        except Exception as error:  # the SDK raises RuntimeError and OSError, and documents neither
            self._part.discard()
            raise MediaError(f"expected to write {out / FILE}, got {visible(error)}; check the folder") from error
        self._recording.send_recording_name(visible(name))
        colors = [rerun.AnnotationInfo(id=i, color=color_of(i)[::-1]) for i in range(1, _CLASSES + 1)]
        self._recording.log("/", rerun.AnnotationContext(colors), static=True)
        if camera:
            self._recording.log("ground", rerun.ViewCoordinates.FLU, static=True)

    def _viewers(self, view: str) -> list[Any]:
        """Where it goes beside the file."""
        rerun = self._rerun
        if view == FILE_ONLY:
            return []
        if view != LIVE:
            _reached(view)
            return [rerun.GrpcSink(view)]
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            _log.warning("there is no display for the viewer; %s is written, to be opened with rerun", FILE)
            return []
        rerun.spawn(connect=False, hide_welcome_screen=True)  # one that runs already is used
        return [rerun.GrpcSink()]

    def write(self, frame: Frame, result: Lanes | Instances) -> None:
        """Add one frame and its result."""
        rerun, log = self._rerun, self._recording.log
        self._recording.set_time("frame", sequence=self._number)
        if frame.stamp is not None:
            self._recording.set_time("stamp", timestamp=np.datetime64(frame.stamp, "ns"))
        self._number += 1
        jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        log("camera/image", rerun.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        if isinstance(result, Lanes):
            self._lanes(frame, result)
        else:
            self._instances(result)
        for stage, spent in {**result.times, "total": sum(result.times.values())}.items():
            log(f"times/{stage.replace(' ', '_')}", rerun.Scalars(spent))
        log("found", rerun.Scalars(len(result)))
        if result.restart:
            log("restarts", rerun.TextLog(result.restart))

    def _lanes(self, frame: Frame, lanes: Lanes) -> None:
        rerun, log = self._rerun, self._recording.log
        log("camera/mask", rerun.SegmentationImage(_shown(lanes.mask), opacity=_OPACITY))
        ids = lanes.ids.tolist()
        colors = [color_of(identity)[::-1] for identity in ids]
        words = [f"{i}  {100 * c:.0f}%" for i, c in zip(ids, lanes.confidence.tolist(), strict=True)]
        log(
            "camera/lanes",
            rerun.LineStrips2D(list(lanes.polylines), colors=colors, labels=words, radii=[1.5] * len(ids)),
        )
        if self._camera is not None:
            if self._plane is None or self._plane[0] != frame.size:
                height, width = frame.size
                self._plane = frame.size, GroundPlane(self._camera.scaled(width, height))
            lines = ground_lines(lanes, self._plane[1])
            log("ground/lanes", rerun.LineStrips3D(lines, colors=colors, labels=words, radii=[0.06] * len(ids)))

    def _instances(self, found: Instances) -> None:
        rerun, log = self._rerun, self._recording.log
        ids = found.ids.tolist()
        table = np.concatenate([[0], found.ids]).astype(np.int64)
        log("camera/mask", rerun.SegmentationImage(_shown(table[found.labels]), opacity=_OPACITY))
        colors = [color_of(identity)[::-1] for identity in ids]
        kinds = [class_name(self._classes, c) for c in found.class_ids.tolist()]
        words = [f"{visible(kind)} {identity}" for kind, identity in zip(kinds, ids, strict=True)]
        boxes = np.asarray(found.boxes, np.float32).reshape(-1, 4)
        style = {"colors": colors, "labels": words}
        log("camera/objects", rerun.Boxes2D(array=boxes, array_format=rerun.Box2DFormat.XYXY, **style))
        if found.restart:
            self._tracks.clear()
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        self._tracks = {i: self._tracks.get(i, deque(maxlen=_TRAIL)) for i in ids}
        for identity, foot in zip(ids, feet, strict=True):
            self._tracks[identity].append(foot)
        log("camera/tracks", rerun.LineStrips2D([np.array(self._tracks[i]) for i in ids], colors=colors))

    def __enter__(self) -> RerunView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # a viewer that is gone or slow; the file is written all the same
            self._recording.flush(timeout_sec=_PATIENCE)
        # The SDK waits without end for its writing thread, which a full disk has ended; at the interpreter's end too.
        closing = Thread(target=self._recording.disconnect, daemon=True)
        closing.start()
        written = -1
        while closing.is_alive() and written < (size := self._part.path.stat().st_size):
            written = size
            closing.join(_PATIENCE)
        if closing.is_alive():
            self._rerun.unregister_shutdown()
        whole = error is None and not closing.is_alive() and _has_end(self._part.path)
        if whole:
            self._part.keep()
        else:
            self._part.discard()
        if error is None and not whole:  # which the SDK only logs
            raise MediaError(
                f"expected to write {self._part.target}, got a file without its end; check the disk's space"
            )


def _has_end(path: Path) -> bool:
    """Whether a recording was written to its end, a footer with this mark."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * len(_END)))
        return _END in file.read()


def _reached(url: str) -> None:
    """Raise ConfigError if nobody listens there: the SDK would only log that, at the end."""
    try:
        place = urlsplit(url)
        socket.create_connection((place.hostname or "", place.port or 9876), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"expected a Rerun viewer at {url}, got {visible(error)}; start `rerun` there, and open its port"
        ) from error


def _shown(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Ids as the classes whose colors the viewer was told; 0 stays 0."""
    return np.where(ids > 0, (ids.astype(np.int64) - 1) % _CLASSES + 1, 0).astype(np.uint8)
