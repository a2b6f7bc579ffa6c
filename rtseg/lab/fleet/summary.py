"""What the rows of a job add up to, recording by recording."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from rtseg.lab.fleet.damage import damage_of
from rtseg.lab.fleet.histogram import Histogram
from rtseg.lab.fleet.rows import ShardName, read_rows
from rtseg.lab.fleet.truth import COUNTS
from rtseg.lab.scores.lanes.culane import CulaneScore

COLUMNS = (
    *("recording", "stamp", "fault", "restart", "degraded", "found", "certainty", "switches", "flickers"),
    *("residuals", "scores", "overlaps", "ms", "stages", "stale"),
)


@dataclass
class Totals:
    """Sums over frames; of a recording, or of all of them.

    Attributes:
        frames: read or left out.
        processed: that gave a result.
        seconds: of recording.
        found: lanes or objects.
        certainty: sum over the processed frames of the mean confidence.
        judged: of the processed frames, those of which it is known how steady they are: those of drives.
        switches, flickers: as of :class:`rtseg.lab.scores.lanes.temporal.FrameSteadiness`, and of
            :class:`rtseg.lab.scores.instances.temporal.ObjectSteadiness`.
        stale: frames that a node would have dropped at the recorded rate, on the machine that did them.
        faults: frames without a result, by reason.
        restarts: times ids started anew, by reason.
        degraded: frames whose pictures something was wrong with, by what it was; some have several.
        degraded_frames: their number.
        residuals: pixels that lanes lie off the middle of their places before and after.
        stages: milliseconds by stage, ``total`` among them.
        scores: sum of the scores of labelled frames and number of those that have it, by metric.
        labelled: frames with scores.
        overlaps: of labelled frames of instances, see :mod:`rtseg.lab.fleet.truth`.
    """

    frames: int = 0
    processed: int = 0
    seconds: float = 0.0
    found: int = 0
    certainty: float = 0.0
    judged: int = 0
    switches: int = 0
    flickers: int = 0
    stale: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    degraded_frames: int = 0
    residuals: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=dict)
    scores: dict[str, tuple[float, int]] = field(default_factory=dict)
    labelled: int = 0
    overlaps: list[str] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Add the rows of a shard."""
        done = table.filter(compute.is_valid(table["found"]))
        self.frames += len(table)
        self.processed += len(done)
        self.found += _sum(done["found"])
        self.certainty += _sum(done["certainty"])
        self.judged += len(done) - done["switches"].null_count
        self.switches += _sum(done["switches"])
        self.flickers += _sum(done["flickers"])
        self.stale += _sum(done["stale"].cast(pa.int32()))
        self.faults.update(reason for reason in table["fault"].to_pylist() if reason)
        self.restarts.update(reason for reason in done["restart"].to_pylist() if reason)
        wrong = [told for told in done["degraded"].to_pylist() if told]
        self.degraded.update(each for told in wrong for each in told.split(", "))
        self.degraded_frames += len(wrong)
        self.residuals.add(_flat(done["residuals"]))
        stamps = done["stamp"].drop_null().to_numpy()
        steps = np.diff(stamps) / 1e9
        self.seconds += float(steps[steps > 0].sum())
        self._add_stages(done)
        keys, values = _pairs(done["scores"])
        for key in np.unique(keys):
            total, count = self.scores.get(str(key), (0.0, 0))
            of_key = values[keys == key]
            self.scores[str(key)] = total + float(of_key.sum()), count + of_key.size
        self.overlaps += done["overlaps"].drop_null().to_pylist()
        self.labelled += int(compute.sum(compute.is_valid(done["scores"])).as_py() or 0)

    def _add_stages(self, done: pa.Table) -> None:
        keys, values = _pairs(done["stages"])
        for key in dict.fromkeys(keys.tolist()):
            self.stages.setdefault(str(key), Histogram()).add(values[keys == key])
        self.stages.setdefault("total", Histogram()).add(done["ms"].to_numpy())

    @property
    def milliseconds(self) -> float:
        """Spent on the frames by the pipeline alone."""
        return self.stages["total"].total if "total" in self.stages else 0.0

    @property
    def badness(self) -> float:
        """What the worst have most of: doubt, flicker and switches, a frame."""
        if not self.processed:
            return 0.0
        return 1 + (self.flickers + self.switches - self.certainty) / self.processed

    @property
    def flicker(self) -> float | None:
        """Share of the judged frames that flicker; None of none."""
        return self.flickers / self.judged if self.judged else None

    def figures(self) -> dict[str, Any]:
        """The numbers, for machines; None is what was not measured."""
        each = max(1, self.processed)
        figures: dict[str, Any] = {
            "frames": self.frames,
            "processed": self.processed,
            "seconds": round(self.seconds, 3),
            "found per frame": self.found / each,
            "certainty": self.certainty / each,
            "switches": self.switches if self.judged else None,
            "flickers": self.flickers if self.judged else None,
            "flicker": self.flicker,
            "jitter": self.residuals.percentile(50) if self.residuals.count else None,
            "stale": self.stale,
            "fps": 1e3 * self.processed / self.milliseconds if self.milliseconds else None,
            "faults": dict(self.faults),
            "restarts": dict(self.restarts),
            "degraded": dict(self.degraded),
            "latency": {
                stage: {f"p{share}": histogram.percentile(share) for share in (50, 90, 99)} | {"max": histogram.largest}
                for stage, histogram in self.stages.items()
            },
        }
        if self.labelled:
            figures["labelled"] = self.labelled
            figures["scores"] = self.mean_scores()
        return figures

    def mean_scores(self) -> dict[str, float]:
        """Means over the labelled frames, but for CULane's F1, which is of their sums."""
        found = {name: total / count for name, (total, count) in self.scores.items() if name not in COUNTS}
        if COUNTS[0] in self.scores:
            found["culane F1"] = CulaneScore(*(round(self.scores[name][0]) for name in COUNTS)).f1
        return found


@dataclass
class LabelUse:
    """What became of the labels beside a recording.

    Attributes:
        count: labels of its frames.
        fault: why some or all could not be used, empty where they could.
    """

    count: int = 0
    fault: str = ""


@dataclass
class FleetTotals:
    """Totals of every recording, and of all together; what became of labels, where there are any; damage by recording.

    Attributes:
        recordings: totals by address.
        shards: of each.
        all: totals of all of them.
        labels: what became of them, by address.
        damage: what was said of the files of recordings that are damaged or not whole, by address.
    """

    recordings: dict[str, Totals]
    shards: dict[str, list[ShardName]]
    all: Totals
    labels: dict[str, LabelUse] = field(default_factory=dict)
    damage: dict[str, tuple[str, ...]] = field(default_factory=dict)


def add_up(rows: str) -> FleetTotals:
    """Add up the rows of a job's folder; one shard is in memory at a time.

    Raises:
        MediaError: a file of rows cannot be read.
    """
    totals = FleetTotals({}, {}, Totals())
    for name, table in read_rows(rows, COLUMNS):
        facts = table.schema.metadata or {}
        uri = facts[b"rtseg.recording"].decode()
        totals.recordings.setdefault(uri, Totals()).add(table)
        totals.shards.setdefault(uri, []).append(name)
        totals.all.add(table)
        if damage := damage_of(table):
            said = (*totals.damage.get(uri, ()), *(sentence for _, sentence in damage))
            totals.damage[uri] = tuple(dict.fromkeys(said))
        if labels := facts.get(b"rtseg.labels"):
            use = totals.labels.setdefault(uri, LabelUse())
            told = json.loads(labels)
            use.count, use.fault = max(use.count, told["count"]), use.fault or told["fault"]
    return totals


def badness_of(rows: pa.Table) -> float:
    """:attr:`Totals.badness` of some rows."""
    totals = Totals()
    totals.add(rows)
    return totals.badness


def _sum(column: Any) -> Any:
    return compute.sum(column).as_py() or 0


def _flat(column: Any) -> Any:
    return compute.list_flatten(column.drop_null()).to_numpy()


def _pairs(column: Any) -> tuple[Any, Any]:
    """Keys and values of a column of maps."""
    chunks: Iterable[Any] = column.drop_null().chunks
    keys = [chunk.keys.to_numpy(zero_copy_only=False) for chunk in chunks]
    values = [chunk.items.to_numpy(zero_copy_only=False) for chunk in chunks]
    if not keys:
        return np.zeros(0, dtype=object), np.zeros(0)
    return np.concatenate(keys), np.concatenate(values)
