"""A run for the Rerun viewer, as a file and live (needs the extra ``rerun``)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, MediaError
from rtseg.files import Part
from rtseg.frame import Frame
from rtseg.lab.replay.rerun_live import HERE, URLS, LiveViewer, open_sink
from rtseg.lanes import GroundPlane
from rtseg.media.overlay import color_of
from rtseg.messages import ground_lines
from rtseg.printing import visible
from rtseg.results import Instances, Lanes, class_name

if TYPE_CHECKING:
    from rtseg.camera import Camera

FILE_ONLY = "rrd"
FILE = "result.rrd"
_END = b"RRF2FOOT"
_PATIENCE = 5.0  # seconds in which a file grows that is being written
_QUALITY = 85
_OPACITY = 0.5
_TRAIL = 60  # frames of an object's track
_CLASSES = 240  # ids whose colors the viewer is told: whole palettes, in uint8


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
        if view not in (FILE_ONLY, HERE) and not view.startswith(URLS):
            raise ConfigError(
                f"expected --view {FILE_ONLY}, {HERE} or {URLS[0]}HOST:9876/proxy, got {view}; choose one"
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
            self._recording.set_sinks(rerun.FileSink(self._part.path), default_blueprint=layout)
            self._live = None if view == FILE_ONLY else self._opened(view, layout)
        except ConfigError:
            self._part.discard()
            raise
        except Exception as error:  # the SDK raises RuntimeError and OSError, and documents neither
            self._part.discard()
            raise MediaError(f"expected to write {out / FILE}, got {visible(error)}; check the folder") from error
        colors = [rerun.AnnotationInfo(id=i, color=color_of(i)[::-1]) for i in range(1, _CLASSES + 1)]
        nothing = rerun.AnnotationInfo(id=0, color=(0, 0, 0, 0))  # else it is painted in some color, too

        def begin(recording: Any) -> None:
            recording.send_recording_name(visible(name))
            recording.log("/", rerun.AnnotationContext([nothing, *colors]), static=True)
            if camera:
                recording.log("ground", rerun.ViewCoordinates.FLU, static=True)

        self._send(begin)

    def _opened(self, view: str, layout: Any) -> LiveViewer | None:
        # A recording of its own: the SDK keeps the file waiting for a viewer that shares its recording.
        recording = self._rerun.RecordingStream("rtseg")
        sink = open_sink(recording, view)
        if sink is None:
            return None
        recording.set_sinks(sink, default_blueprint=layout)
        return LiveViewer(recording)

    def _send(self, write: Callable[[Any], None]) -> None:
        write(self._recording)
        if self._live:
            self._live.show(write)

    def write(self, frame: Frame, result: Lanes | Instances) -> None:
        """Add one frame and its result."""
        rerun, number = self._rerun, self._number
        self._number += 1
        jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        entries = {"camera/image": rerun.EncodedImage(contents=jpeg, media_type="image/jpeg")}
        entries |= self._lanes(frame, result) if isinstance(result, Lanes) else self._instances(result)
        for stage, spent in {**result.times, "total": sum(result.times.values())}.items():
            entries[f"times/{stage.replace(' ', '_')}"] = rerun.Scalars(spent)
        entries["found"] = rerun.Scalars(len(result))
        if result.restart:
            entries["restarts"] = rerun.TextLog(result.restart)

        def write(recording: Any) -> None:
            recording.set_time("frame", sequence=number)
            if frame.stamp is not None:
                recording.set_time("stamp", timestamp=np.datetime64(frame.stamp, "ns"))
            for entity, what in entries.items():
                recording.log(entity, what)

        self._send(write)

    def _lanes(self, frame: Frame, lanes: Lanes) -> dict[str, Any]:
        rerun = self._rerun
        ids = lanes.ids.tolist()
        colors = [color_of(identity)[::-1] for identity in ids]
        words = [f"{i}  {100 * c:.0f}%" for i, c in zip(ids, lanes.confidence.tolist(), strict=True)]
        style = {"colors": colors, "labels": words}
        entries = {
            "camera/mask": rerun.SegmentationImage(_shown(lanes.mask), opacity=_OPACITY),
            "camera/lanes": rerun.LineStrips2D(list(lanes.polylines), radii=[1.5] * len(ids), **style),
        }
        if self._camera is not None:
            if self._plane is None or self._plane[0] != frame.size:
                height, width = frame.size
                self._plane = frame.size, GroundPlane(self._camera.scaled(width, height))
            lines = ground_lines(lanes, self._plane[1])
            entries["ground/lanes"] = rerun.LineStrips3D(lines, radii=[0.06] * len(ids), **style)
        return entries

    def _instances(self, found: Instances) -> dict[str, Any]:
        rerun = self._rerun
        ids = found.ids.tolist()
        table = np.concatenate([[0], found.ids]).astype(np.int64)
        colors = [color_of(identity)[::-1] for identity in ids]
        kinds = [class_name(self._classes, c) for c in found.class_ids.tolist()]
        words = [f"{visible(kind)} {identity}" for kind, identity in zip(kinds, ids, strict=True)]
        boxes = np.asarray(found.boxes, np.float32).reshape(-1, 4)
        style = {"colors": colors, "labels": words}
        if found.restart:
            self._tracks.clear()
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        self._tracks = {i: self._tracks.get(i, deque(maxlen=_TRAIL)) for i in ids}
        for identity, foot in zip(ids, feet, strict=True):
            self._tracks[identity].append(foot)
        return {
            "camera/mask": rerun.SegmentationImage(_shown(table[found.labels]), opacity=_OPACITY),
            "camera/objects": rerun.Boxes2D(array=boxes, array_format=rerun.Box2DFormat.XYXY, **style),
            "camera/tracks": rerun.LineStrips2D([np.array(self._tracks[i]) for i in ids], colors=colors),
        }

    def __enter__(self) -> RerunView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.close()
        with suppress(Exception):  # a full disk, which is told below
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


def _shown(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Ids as the classes whose colors the viewer was told; 0 stays 0."""
    return np.where(ids > 0, (ids.astype(np.int64) - 1) % _CLASSES + 1, 0).astype(np.uint8)
