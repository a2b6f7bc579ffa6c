"""Two models on the same recordings: what differs, how surely, and whether that is good enough to release."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from rich.table import Table
from rich.text import Text

from rtseg.counted import counted
from rtseg.errors import ConfigError, MediaError
from rtseg.lab.fleet.agreement import disagreement
from rtseg.lab.fleet.frames import FrameAddress, draw_row, frames_at, part_of
from rtseg.lab.fleet.rows import ShardName, read_shard, shards_in, write_whole
from rtseg.lab.fleet.settings import JobSettings, read_settings, refuse_job_folder
from rtseg.lab.fleet.stores import absolute, common_folder
from rtseg.lab.fleet.truth import BETTER as BETTER_SCORES
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture, ReportData, render_report
from rtseg.printing import json_text, visible
from rtseg.settings import Settings, first_fault
from rtseg.yaml_text import read_yaml

BETTER = {
    **{"certainty": "higher", "found": "higher"},
    **{"flickers": "lower", "switches": "lower", "jitter": "lower", "faults": "lower", "ms": "lower"},
}
"""What is better of the metrics that every row has: means over frames, but for jitter over lanes."""

_FAILED = Text("failed", "red")
_DRAWS = 2000
_SHOWN = 9
_APART = 10**9  # ns between two frames that are shown of one recording
_COLUMNS = (
    *("recording", "frame", "stamp", "name", "width", "height", "fault", "found", "certainty"),
    *("lanes", "objects", "switches", "flickers", "residuals", "scores", "ms"),
)


class GateRule(Settings):
    """One line of a gate.

    Attributes:
        metric: as in the comparison's table.
        margin: how much worse B may be, in the metric's own unit.
        better: which way is better, where that is not the usual.
    """

    metric: str
    margin: Annotated[float, Field(ge=0)] = 0.0
    better: Literal["higher", "lower"] | None = None


@dataclass(frozen=True)
class Difference:
    """One metric of two jobs.

    Attributes:
        metric: its name.
        a, b: means over the frames that both have.
        difference: of B less A.
        low, high: 95 % confidence of the difference, by bootstrap over recordings; infinite of fewer than two.
    """

    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What a gate's rule says: B may not be worse by more than the margin at the worse end of the confidence."""

    rule: GateRule
    worst: float
    passed: bool


@dataclass(frozen=True)
class Comparison:
    """What two jobs differ in.

    Attributes:
        frames: that both have.
        recordings: that both have.
        unpaired: frames that only one of them has.
        missing: frames that A alone has.
        differences: by metric.
        disagreement: mean share of what one shows and the other does not.
        verdicts: of the gate.
        faults: recordings that could not be replayed, (address, reason), where models were compared.
    """

    frames: int
    recordings: int
    unpaired: int
    missing: int
    differences: tuple[Difference, ...]
    disagreement: float
    verdicts: tuple[Verdict, ...]
    faults: tuple[tuple[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all rules of the gate hold; of frames that A alone has nobody knows what B makes of them."""
        return all(verdict.passed for verdict in self.verdicts) and not (self.verdicts and self.missing)

    def table(self) -> Table:
        """The figures for the terminal."""
        table = Table(
            "metric",
            "A",
            "B",
            "B - A",
            "95 %",
            title=f"{counted(self.frames, 'frame')} of {counted(self.recordings, 'recording')}",
        )
        for row in _cells(self.differences):
            table.add_row(*row)
        for verdict in self.verdicts:
            word = Text("passed", "green") if verdict.passed else _FAILED
            table.add_row(f"gate: {verdict.rule.metric}", "", word, f"{verdict.worst:+.4g}", f"{verdict.rule.margin:g}")
        if self.verdicts and self.missing:
            table.add_row("gate: frames that B lacks", "", _FAILED, str(self.missing), "0")
        for uri, reason in self.faults:
            table.add_row(visible(uri), "", "", visible(reason), "")
        return table


def read_gate(path: str | Path) -> tuple[GateRule, ...]:
    """Read a gate: a YAML list of rules with ``metric``, ``margin`` and, for scores, ``better``.

    Raises:
        ConfigError: it does not parse.
    """
    try:
        content = read_yaml(Path(path))
        rules = tuple(GateRule.model_validate(entry) for entry in content)
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as error:
        why = first_fault(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise ConfigError(f"expected a gate, a list of metric and margin, at {path}: {why}") from error
    if not rules:
        raise ConfigError(f"expected at least one rule in {path}, got none")
    return rules


def compare_jobs(a: str, b: str, out: str | Path, gate: Sequence[GateRule] = (), seed: int = 0) -> Comparison:
    """Pair the frames of two jobs; write ``report.html`` and ``comparison.json``.

    Args:
        a: folder of the job that is there.
        b: folder of the job that is to replace it.
        out: local or remote folder to write.
        gate: rules that B has to keep.
        seed: of the bootstrap.

    Raises:
        MediaError: rows cannot be read, no frame is in both, or files not be written.
        ConfigError: the gate names a metric that is not there, or not which way is better, the models are of two
            tasks, or `out` is the folder of one of the jobs.
    """
    settings = read_settings(a), read_settings(b)
    refuse_job_folder(str(out), a, b)
    sums: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    far, frames, unpaired, missing, recordings = _Farthest(), 0, 0, 0, 0
    apart = 0.0
    for ours, theirs, alone in _paired(a, b):
        unpaired += sum(alone)
        missing += alone[0]
        if not ours:
            continue
        recordings += 1
        frames += len(ours)
        for metric, totals in _totals(ours, theirs).items():
            sums[metric].append(totals)
        for one, other in zip(ours, theirs, strict=True):
            if one["found"] is not None and other["found"] is not None:
                share = disagreement(one, other)
                apart += share
                far.offer(share, one, other)
    if not frames:
        raise MediaError(f"expected frames that {a} and {b} both have, got none; replay the same recordings")
    differences = tuple(_difference(metric, np.array(rows), seed) for metric, rows in sums.items())
    verdicts = tuple(_judge(rule, differences) for rule in gate)
    result = Comparison(frames, recordings, unpaired, missing, differences, apart / frames, verdicts)
    _write(absolute(str(out)), settings, result, far)
    return result


class _Farthest:
    """The pairs of rows that differ most, not all of them from one moment."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, dict[str, Any], dict[str, Any]]] = []
        self._count = 0

    def offer(self, share: float, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        self._count += 1
        if share <= 0 or (len(self._heap) >= _SHOWN and share <= self._heap[0][0]):
            return
        for entry in self._heap:
            if _near(entry[2], ours):
                if share > entry[0]:
                    self._heap.remove(entry)
                    break
                return
        self._heap.append((share, self._count, ours, theirs))
        heapq.heapify(self._heap)
        if len(self._heap) > _SHOWN:
            heapq.heappop(self._heap)

    def __iter__(self) -> Iterator[tuple[float, dict[str, Any], dict[str, Any]]]:
        return (
            (share, ours, theirs) for share, _, ours, theirs in sorted(self._heap, reverse=True, key=lambda e: e[0])
        )


def _near(a: dict[str, Any], b: dict[str, Any]) -> bool:
    if a["recording"] != b["recording"] or a["stamp"] is None or b["stamp"] is None:
        return False
    return bool(abs(a["stamp"] - b["stamp"]) < _APART)


def _paired(a: str, b: str) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[int, int]]]:
    """Rows of each recording that both jobs have of the same frames, and how many A alone and B alone have."""
    there: list[dict[str, list[ShardName]]] = [defaultdict(list), defaultdict(list)]
    for folder, names in zip((a, b), there, strict=True):
        for name in sorted(shards_in(f"{folder}/rows"), key=lambda name: (name.key, name.index)):
            names[name.key].append(name)
    for key in sorted(there[0].keys() | there[1].keys()):
        ours, theirs = (
            {
                address: row
                for name in names[key]
                for address, row in _addressed(read_shard(f"{f}/rows", name, _COLUMNS))
            }
            for f, names in zip((a, b), there, strict=True)
        )
        shared = [address for address in ours if address in theirs]
        alone = len(ours) - len(shared), len(theirs) - len(shared)
        yield [ours[address] for address in shared], [theirs[address] for address in shared], alone


def _addressed(table: pa.Table) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Rows by what tells the frame, however its recording was cut; frames that are in no file have no address."""
    part = part_of(table)
    for row in table.to_pylist():
        if row["stamp"] is not None or row["name"] is not None:
            yield (row["stamp"], row["name"]), row | {"part": part}


def _totals(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Metric -> (sum of A, number of A, sum of B, number of B) over the frames of a recording."""
    totals: dict[str, NDArray[np.float64]] = {}
    names = sorted({name for row in (*ours, *theirs) for name, _ in row["scores"] or ()})
    for metric in (*BETTER, *names):
        values = [_values(rows, metric) for rows in (ours, theirs)]
        if values[0].size and values[1].size:
            totals[metric] = np.array([n for side in values for n in (side.sum(), side.size)], np.float64)
    return totals


def _values(rows: list[dict[str, Any]], metric: str) -> NDArray[np.float64]:
    if metric == "faults":
        found: list[Any] = [row["fault"] is not None for row in rows]
    elif metric == "jitter":
        found = [residual for row in rows for residual in row["residuals"] or ()]
    elif metric in BETTER:
        found = [row[metric] for row in rows if row[metric] is not None]
    else:
        found = [value for row in rows for name, value in row["scores"] or () if name == metric]
    return np.array(found, np.float64)


def _difference(metric: str, sums: NDArray[np.float64], seed: int) -> Difference:
    """Compare means over all recordings, (n, 4) sums as of :func:`_totals`."""

    def means(totals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return totals[..., 0] / totals[..., 1], totals[..., 2] / totals[..., 3]

    a, b = means(sums.sum(axis=0))
    low, high = -np.inf, np.inf
    if len(sums) > 1:
        random, n = np.random.default_rng(seed), len(sums)
        drawn = means(np.array([np.bincount(random.integers(0, n, n), minlength=n) @ sums for _ in range(_DRAWS)]))
        low, high = np.percentile(drawn[1] - drawn[0], [2.5, 97.5])
    return Difference(metric, float(a), float(b), float(b - a), float(low), float(high))


def _judge(rule: GateRule, differences: Sequence[Difference]) -> Verdict:
    found = next((d for d in differences if d.metric == rule.metric), None)
    better = rule.better or {**BETTER, **BETTER_SCORES}.get(rule.metric)
    if found is None or better is None:
        names = ", ".join(d.metric for d in differences)
        raise ConfigError(f"expected a metric of {names}, got {rule.metric}; mend the gate")
    worst = found.low if better == "higher" else -found.high
    return Verdict(rule, worst, bool(worst >= -rule.margin))


def _cells(differences: Sequence[Difference]) -> list[tuple[str, ...]]:
    return [
        (d.metric, f"{d.a:.4g}", f"{d.b:.4g}", f"{d.difference:+.4g}", f"{d.low:+.4g} to {d.high:+.4g}")
        for d in differences
    ]


def _write(out: str, settings: tuple[JobSettings, JobSettings], result: Comparison, far: _Farthest) -> None:
    models = [f"{side}: {one.model} ({one.model_hash})" for side, one in zip("AB", settings, strict=True)]
    verdicts = [
        (v.rule.metric, f"{v.rule.margin:g}", f"{v.worst:+.4g}", "passed" if v.passed else "failed")
        for v in result.verdicts
    ]
    notes = []
    if result.unpaired:
        notes.append(f"In A only: {counted(result.missing, 'frame')}; in B only: {result.unpaired - result.missing}.")
    if result.verdicts and result.missing:
        notes.append("B passes no gate while it lacks frames that A has.")
    if result.recordings < 2:
        notes.append("Of fewer than two recordings nothing can be said about how sure the differences are.")
    wanted = list(far)
    shown = _side_by_side(wanted, settings[0].topic)
    if len(shown) < len(wanted):
        notes.append(
            f"Not shown: {counted(len(wanted) - len(shown), 'frame')} of recordings that cannot be read any longer."
        )
    page = ReportData(
        title="Fleet comparison",
        subtitle=", ".join(models),
        figures=[
            ("frames that both have", str(result.frames)),
            ("recordings", str(result.recordings)),
            ("disagreement", f"{100 * result.disagreement:.1f} %"),
            *([("gate", "passed" if result.passed else "failed")] if result.verdicts else []),
        ],
        tables=[
            (
                "Means over frames; 95 % confidence by recording",
                ("metric", "A", "B", "B - A", "95 %"),
                _cells(result.differences),
            ),
            *([("Gate", ("metric", "margin", "at worst", "verdict"), verdicts)] if verdicts else []),
        ],
        worst=shown,
        worst_title="Where they disagree most: A left, B right",
        facts=machine_facts(),
        notes=notes,
    )
    write_whole(out, "report.html", render_report(page).encode())
    facts = asdict(result) | {"passed": result.passed}
    facts["verdicts"] = [{"rule": v.rule.model_dump(), "worst": v.worst, "passed": v.passed} for v in result.verdicts]
    write_whole(out, "comparison.json", json_text(facts).encode())


def _side_by_side(pairs: Sequence[tuple[float, dict[str, Any], dict[str, Any]]], topic: str | None) -> list[Picture]:
    rows = {
        FrameAddress(ours["recording"], ours["part"], ours["stamp"], ours["name"]): (share, ours, theirs)
        for share, ours, theirs in pairs
    }
    folder = common_folder(address.recording for address in rows)
    shown: list[tuple[float, Picture]] = []
    for address, frame in frames_at(rows, topic):
        share, ours, theirs = rows[address]
        halves = [draw_row(frame.image, row, side) for row, side in ((ours, "A"), (theirs, "B"))]
        caption = f"{address.recording.removeprefix(folder)}: {100 * share:.0f} % differ"
        shown.append((share, Picture.of(caption, np.concatenate(halves, axis=1))))
    return [picture for _, picture in sorted(shown, key=lambda entry: -entry[0])]
