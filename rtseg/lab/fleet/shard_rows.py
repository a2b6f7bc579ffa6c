"""The rows of one shard, collected frame by frame."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rtseg.errors import DatasetError, ImageError
from rtseg.frame import Frame
from rtseg.lab.fleet.features import EVERY
from rtseg.lab.fleet.rate import stale_at_rate
from rtseg.lab.fleet.rows import result_fields, table_of
from rtseg.lab.fleet.shards import Part
from rtseg.lab.fleet.sources import Recording
from rtseg.lab.fleet.stores import printable
from rtseg.lab.fleet.truth import Truth
from rtseg.lab.report.report import Picture
from rtseg.lab.scores.instances.temporal import ObjectLog
from rtseg.lab.scores.lanes.temporal import TemporalLog
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.results import Instances, Lanes
from rtseg.runtime import Pipeline


class ShardRows:
    """Collects the rows of one shard.

    Args:
        recording: that it is of.
        part: of the recording.
        classes: of the model.
        truth: labels of the recording, None where there are none.
        labels_fault: why labels that are there cannot be used, empty where they can.
        features: of pictures, for one frame of every two seconds and all stills.

    Attributes:
        rows: one a frame, as of :data:`rtseg.lab.fleet.rows.SCHEMA`.
        seconds: of recording gone by.
    """

    def __init__(
        self,
        recording: Recording,
        part: Part,
        classes: tuple[str, ...],
        truth: Truth | None = None,
        labels_fault: str = "",
        features: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._recording = recording
        self._part = part
        self._classes = classes
        self._truth = truth
        self._labels_fault = labels_fault
        self._features = features
        self._given = 0
        self._lines = TemporalLog()
        self._things = ObjectLog()
        self._lead: list[list[list[Any]]] = []
        self._last: int | None = None
        self._window: int | None = None
        self._worst: tuple[float, int, bytes] | None = None

    def note_faults(self, faults: Counter[str]) -> None:
        """Add a row for every frame that the source left out."""
        for reason in sorted(faults.elements()):
            self.add_fault(reason)

    def add_fault(self, reason: str, frame: Frame | None = None, leading: bool = False) -> None:
        """Add a row for a frame that gave no result; one that leads in has none."""
        self._given += frame is not None
        if not leading:
            self.rows.append(self._row(frame) | {"fault": reason})

    def add(self, frame: Frame, result: Lanes | Instances, leading: bool) -> None:
        """Add the row of a frame that gave a result; a frame that leads in only leaves its marks."""
        fields = result_fields(result, self._classes)
        if frame.stamp is not None:
            fields |= self._steadiness(result)
        if leading:
            self._lead.append(marks(fields))
            return
        fields |= self._scores(frame, result)
        if frame.stamp is not None:
            if self._last is not None:
                self.seconds += max(0, frame.stamp - self._last) / 1e9
            self._last = frame.stamp
        fields |= self._features_of(frame)
        self._keep_picture(frame, result, fields)
        self.rows.append(self._row(frame) | fields)

    def _steadiness(self, result: Lanes | Instances) -> dict[str, Any]:
        if result.restart:
            self._lines.reset()
            self._things.reset()
        if isinstance(result, Instances):
            return vars(self._things.update(result))
        steady = self._lines.update(result)
        return {"switches": steady.switches, "flickers": steady.flickers, "residuals": sorted(steady.residuals)}

    def _scores(self, frame: Frame, result: Lanes | Instances) -> dict[str, Any]:
        self._given += 1
        if self._truth is None:
            return {}
        try:
            score = self._truth.score(frame, self._given - 1, result)
        except (DatasetError, ImageError) as error:
            self._labels_fault = str(error)
            return {}
        return {"scores": list(score.scores.items()), "overlaps": score.overlaps} if score is not None else {}

    def _features_of(self, frame: Frame) -> dict[str, Any]:
        window = None if frame.stamp is None else frame.stamp // EVERY
        if self._features is None or (window is not None and window == self._window):
            return {}
        self._window = window
        return {"features": self._features(frame.image)}

    def table(self, pipeline: Pipeline, damage: Iterable[str] = ()) -> pa.Table:
        """All rows, with what is known of the shard in the metadata.

        Args:
            pipeline: that gave the results.
            damage: what was said of the recording's files.
        """
        if self._worst is not None:
            self.rows[self._worst[1]]["picture"] = self._worst[2]
        busy = np.array([row.get("ms", np.nan) for row in self.rows])
        stamps = np.array([np.nan if row.get("stamp") is None else row["stamp"] / 1e6 for row in self.rows])
        for row, stale in zip(self.rows, stale_at_rate(stamps, busy), strict=True):
            row["stale"] = bool(stale) if row.get("stamp") is not None and "ms" in row else None
        facts = {"recording": self._recording.uri, "part": json.dumps(vars(self._part)), "lead": json.dumps(self._lead)}
        if damage:
            facts["damage"] = json.dumps(list(damage))
        if self._truth is not None or self._labels_fault:
            count = len(self._truth) if self._truth is not None else 0
            facts["labels"] = json.dumps({"count": count, "fault": self._labels_fault})
        return table_of(self.rows, {**facts, "model": pipeline.card.name, **pipeline.backend})

    def _row(self, frame: Frame | None) -> dict[str, Any]:
        row: dict[str, Any] = {
            "recording": self._recording.uri,
            "shard": self._part.index,
            "frame": len(self.rows),
        }
        if frame is not None:
            height, width = frame.size
            row |= {"stamp": frame.stamp, "name": printable(frame.name) or None, "width": width, "height": height}
        return row

    def _keep_picture(self, frame: Frame, result: Lanes | Instances, fields: dict[str, Any]) -> None:
        """Remember what the least certain frame looked like, drawn only when it is less certain than all before."""
        badness = 1.0 - fields["certainty"] + (fields.get("flickers") or 0) + (fields.get("switches") or 0)
        if self._worst is None or badness > self._worst[0] + 0.02:
            untimed = replace(result, times={})  # times are drawn, and differ from run to run
            picture = Picture.of("", drawn(frame, untimed, self._classes))
            self._worst = badness, len(self.rows), picture.jpeg


def marks(fields: dict[str, Any]) -> list[list[Any]]:
    """Ids of a frame with a hash of what each looks like: a frame that two shards have tells which ids are one."""
    found = []
    for lane in fields.get("lanes") or ():
        shape = np.concatenate([np.asarray(lane["x"], np.float32), np.asarray(lane["y"], np.float32)])
        found.append([lane["id"], hashlib.blake2b(shape.tobytes(), digest_size=6).hexdigest()])
    for thing in fields.get("objects") or ():
        shape = np.array([thing["x0"], thing["y0"], thing["x1"], thing["y1"], thing["area"]], np.float32)
        found.append([thing["id"], hashlib.blake2b(shape.tobytes(), digest_size=6).hexdigest()])
    return found


def drawn(frame: Frame, result: Lanes | Instances, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """The frame with what was found in it."""
    if isinstance(result, Lanes):
        return draw_lanes(frame.image, result)
    return draw_instances(frame.image, result, classes)
