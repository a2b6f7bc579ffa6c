"""The page and the summary of a fleet job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as parquet
from rich.table import Table

from rtseg.counted import counted
from rtseg.errors import RtsegError
from rtseg.lab.fleet.histogram import ERROR
from rtseg.lab.fleet.rows import SCHEMA_VERSION, ShardName, read_shard, shards_in, write_whole
from rtseg.lab.fleet.settings import JobSettings
from rtseg.lab.fleet.sources import SourceFault
from rtseg.lab.fleet.stores import common_folder
from rtseg.lab.fleet.summary import FleetTotals, Totals, add_up
from rtseg.lab.fleet.tracks import stitch
from rtseg.lab.fleet.truth import pooled_scores
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture, ReportData, render_report
from rtseg.printing import json_text, visible

_NOTED = 20  # faults that are told at the head of the page; tables have all
WORST = 9  # recordings whose pictures are shown
LONGEST_TABLE = 500  # rows of the page's table; summary.json has all


@dataclass(frozen=True)
class FleetReport:
    """What a job gave.

    Attributes:
        recordings: totals by address.
        all: totals of all of them.
        faults: recordings that gave nothing or not all they hold, (address, reason).
        duplicates: sources that were left out, since another has the same bytes.
        damaged: recordings that were read as far as they go, (address, what is wrong).
        others: recordings with results in the folder that were not among the sources.
    """

    recordings: dict[str, Totals]
    all: Totals
    faults: tuple[tuple[str, str], ...]
    duplicates: tuple[SourceFault, ...]
    damaged: tuple[tuple[str, str], ...] = ()
    others: frozenset[str] = frozenset()

    @property
    def told(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Faults and damage."""
        return self.faults, self.damaged

    @property
    def bad(self) -> int:
        """How many recordings have faults."""
        return len({uri for told in self.told for uri, _ in told})

    @property
    def good(self) -> int:
        """How many recordings gave results."""
        return sum(one.processed > 0 for one in self.recordings.values())

    @property
    def folder(self) -> str:
        """That all recordings with results lie in, and without which they are named; empty where there is none."""
        return common_folder(self.recordings)

    def table(self) -> Table:
        """The figures for the terminal."""
        folder = self.folder
        figures = self.all.figures()
        title = f"{counted(self.good, 'recording')}, {counted(self.all.processed, 'frame')}"
        table = Table("", "", title=title, show_header=False)
        if self.all.processed:
            table.add_row("frames a second, one worker", f"{figures['fps']:.1f}")
            table.add_row("latency, 99th percentile", f"{figures['latency']['total']['p99']:.1f} ms")
            table.add_row("mean confidence", f"{figures['certainty']:.3f}")
            for name, text in _steadiness(self.all):
                table.add_row(name, text)
        if self.all.labelled:
            table.add_row("labelled frames", str(self.all.labelled))
            for name, value in self.all.mean_scores().items():
                table.add_row(name, f"{value:.4f}")
        for uri, reason in (*self.faults, *self.damaged)[:_NOTED]:
            table.add_row(visible(uri.removeprefix(folder)), visible(reason))
        return table


def write_pages(
    out: str,
    settings: JobSettings,
    faults: Sequence[tuple[str, str]] = (),
    duplicates: Sequence[SourceFault] = (),
    named: Collection[str] | None = None,
    totals: FleetTotals | None = None,
) -> FleetReport:
    """Add up a job's rows, where that is not done yet; write ``summary.json``, ``tracks.parquet`` and ``report.html``.

    Args:
        out: folder of the job.
        settings: of it.
        faults: recordings that were given up and sources that are none, (address, reason).
        duplicates: sources that were left out.
        named: recordings that were among the sources; None for all that have results.
        totals: of the rows, if they are known already.

    Raises:
        MediaError: rows cannot be read, or files not be written.
    """
    totals = totals or add_up(f"{out}/rows")
    others = frozenset(totals.recordings.keys() - (totals.recordings.keys() if named is None else set(named)))
    told = {uri for uri, _ in faults} | others
    void = [
        (uri, f"no frame of {one.frames} gave a result" if one.frames else "it holds no frame")
        for uri, one in totals.recordings.items()
        if not one.processed and uri not in told
    ]
    damaged = [(uri, said) for uri, all_said in totals.damage.items() if uri not in others for said in all_said]
    report = FleetReport(totals.recordings, totals.all, (*faults, *void), tuple(duplicates), tuple(damaged), others)
    pooled, notes = _pooled(totals)
    summary = {
        "schema": SCHEMA_VERSION,
        "settings": settings.model_dump(mode="json"),
        "all": _with_scores(totals.all.figures(), pooled),
        "recordings": {uri: one.figures() for uri, one in totals.recordings.items()},
        "faults": [{"recording": uri, "reason": reason} for uri, reason in report.faults],
        "damaged": [{"recording": uri, "reason": reason} for uri, reason in report.damaged],
        "labels": {uri: vars(use) for uri, use in totals.labels.items()},
        "duplicates": [{"recording": fault.uri, "reason": fault.reason} for fault in duplicates],
        "percentile error": ERROR,
    }
    write_whole(out, "summary.json", json_text(summary).encode())
    _write_tracks(out)
    write_whole(out, "report.html", render_report(_page(out, settings, report, totals, pooled, notes)).encode())
    return report


def _pooled(totals: FleetTotals) -> tuple[dict[str, float], list[str]]:
    """Scores that no mean over frames gives, and what is to be said of the labels."""
    notes = [f"labels beside {uri}: {use.fault}" for uri, use in totals.labels.items() if use.fault]
    for uri, use in totals.labels.items():
        if (missed := use.count - totals.recordings[uri].labelled) > 0:
            notes.append(f"labels beside {uri}: {missed} of {use.count} are of no frame with a result")
    try:
        return pooled_scores(totals.all.overlaps), notes
    except RtsegError as error:
        return {}, [*notes, f"instances could not be scored: {error}"]


def _with_scores(figures: dict[str, Any], pooled: dict[str, float]) -> dict[str, Any]:
    return {**figures, "scores": figures.get("scores", {}) | pooled} if pooled else figures


def worst_recordings(totals: dict[str, Totals], count: int) -> list[str]:
    """Addresses of the recordings with the most doubt, flicker and switches."""
    shown = [uri for uri, one in totals.items() if one.processed]
    return sorted(shown, key=lambda uri: -totals[uri].badness)[:count]


def bag_of(shard: ShardName) -> str:
    """Where the result bag of a shard's recording lies in the job's folder."""
    return f"bags/{shard.key}.{shard.fingerprint}/result.mcap"


def _page(
    out: str,
    settings: JobSettings,
    report: FleetReport,
    totals: FleetTotals,
    pooled: dict[str, float],
    notes: Sequence[str],
) -> ReportData:
    everything, figures, folder = report.all, report.all.figures(), report.folder
    every = report.recordings.keys() | {uri for uri, _ in report.faults}
    tiles = [
        ("recordings with results", f"{report.good} of {len(every)}"),
        ("frames with results", f"{everything.processed} of {everything.frames}"),
        ("hours of recording", f"{everything.seconds / 3600:.2f}"),
    ]
    if everything.processed:
        tiles += [
            ("frames a second, one worker", f"{figures['fps']:.0f}"),
            ("latency, median", f"{figures['latency']['total']['p50']:.1f} ms"),
            ("latency, 99th percentile", f"{figures['latency']['total']['p99']:.1f} ms"),
            *_steadiness(everything),
            ("stale at the recorded rate", str(everything.stale)),
        ]
    latency = [
        (stage, str(h.count), *(f"{h.percentile(share):.2f}" for share in (50, 90, 99)), f"{h.largest:.2f}")
        for stage, h in everything.stages.items()
    ]
    order = worst_recordings(report.recordings, LONGEST_TABLE)
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        (
            f"Latency by stage, ms (percentiles within {100 * ERROR:g} % of the value)",
            ("stage", "frames", "p50", "p90", "p99", "max"),
            latency,
        ),
        ("Recordings, worst first", _HEADER, [_row(uri.removeprefix(folder), report.recordings[uri]) for uri in order]),
        ("Sources with faults", ("source", "reason"), list(report.faults)),
        ("Damaged recordings, read as far as they go", ("recording", "what is wrong"), list(report.damaged)),
        ("Duplicates, left out", ("source", "reason"), [(d.uri, d.reason) for d in report.duplicates]),
        ("Frames without a result", ("reason", "frames"), _counted(everything.faults)),
        ("Ids started anew", ("reason", "times"), _counted(everything.restarts)),
        ("What was wrong with the cameras' pictures", ("what", "frames"), _counted(everything.degraded)),
    ]
    if everything.labelled:
        scores = [(name, f"{value:.4f}") for name, value in {**figures["scores"], **pooled}.items()]
        tables.insert(1, (f"Scores on {counted(everything.labelled, 'labelled frame')}", ("metric", "value"), scores))
        tables.insert(2, ("Scores by recording", *_by_recording(report.recordings, folder)))
    told = (*report.faults, *report.damaged)[:_NOTED]
    notes = [*(f"{uri}: {reason}" for uri, reason in told), *notes[:_NOTED]]
    if report.others:
        notes.append(f"Not among the sources this time: {counted(len(report.others), 'recording')} with results here.")
    if len(report.recordings) > LONGEST_TABLE:
        notes.append(f"The table shows the {LONGEST_TABLE} worst recordings; summary.json has all of them.")
    return ReportData(
        title="Fleet replay",
        subtitle=f"{settings.model} ({settings.model_hash}), shards of {settings.shard_seconds:g} s",
        figures=tiles,
        tables=[table for table in tables if table[2]],
        worst=_pictures(out, totals, worst_recordings(report.recordings, WORST), folder),
        worst_title="Worst recordings: doubt, flicker and switches a frame",
        facts=[
            ("model", f"{settings.model}, {settings.model_hash}"),
            *([("recordings in", folder)] if folder else []),
            *machine_facts(),
        ],
        notes=notes,
    )


_HEADER = (
    *("recording", "frames", "without", "degraded", "found", "confidence"),
    *("flicker %", "switches", "stale", "p99 ms"),
)


def _row(name: str, one: Totals) -> tuple[str, ...]:
    figures = one.figures()
    return (
        name,
        str(one.frames),
        str(one.faults.total()),
        str(one.degraded_frames),
        f"{figures['found per frame']:.2f}",
        f"{figures['certainty']:.3f}",
        f"{100 * one.flicker:.2f}" if one.flicker is not None else "",
        str(one.switches) if one.judged else "",
        str(one.stale),
        f"{figures['latency']['total']['p99']:.1f}",
    )


def _steadiness(totals: Totals) -> list[tuple[str, str]]:
    if totals.flicker is None:
        return []
    return [("flicker", f"{100 * totals.flicker:.2f} %"), ("id switches", str(totals.switches))]


def _by_recording(recordings: dict[str, Totals], folder: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    scores = {uri: one.mean_scores() for uri, one in recordings.items() if one.labelled}
    metrics = list(dict.fromkeys(name for one in scores.values() for name in one))
    rows = [
        (
            uri.removeprefix(folder),
            str(recordings[uri].labelled),
            *(f"{one[name]:.4f}" if name in one else "" for name in metrics),
        )
        for uri, one in list(scores.items())[:LONGEST_TABLE]
    ]
    return ("recording", "frames", *metrics), rows


def _counted(counts: Any) -> list[tuple[str, str]]:
    return [(reason, str(count)) for reason, count in counts.most_common()]


def _pictures(out: str, totals: FleetTotals, worst: Sequence[str], folder: str) -> list[Picture]:
    """The least certain frame of each of the worst recordings, with a link to its result bag where there is one."""
    fs, path = fsspec.core.url_to_fs(out)
    pictures = []
    for uri in worst:
        best: tuple[float, bytes] | None = None
        for name in totals.shards[uri]:
            for row in _shown(f"{path}/rows/{name.file}", fs):
                if best is None or row["certainty"] < best[0]:
                    best = row["certainty"], row["picture"]
        bag = bag_of(totals.shards[uri][0])
        if best is not None:
            link = bag if fs.exists(f"{path}/{bag}") else ""
            caption = f"{uri.removeprefix(folder)}: confidence {best[0]:.2f}"
            pictures.append(Picture(caption, best[1], link))
    return pictures


def _shown(path: str, fs: Any) -> list[dict[str, Any]]:
    with fs.open(path, "rb") as file:
        table = parquet.read_table(file, columns=["certainty", "picture"])
    return table.filter(table["picture"].is_valid()).to_pylist()


def _write_tracks(out: str) -> None:
    """Which ids of the shards are one track; only recordings of several shards need it."""
    rows: dict[str, list[Any]] = {"recording": [], "shard": [], "id": [], "track": []}
    group: list[tuple[ShardName, pa.Table]] = []

    def flush() -> None:
        if group and group[0][0].count > 1:
            for (name, table), mapping in zip(group, stitch(table for _, table in group), strict=True):
                for identity, track in mapping.items():
                    rows["recording"].append(table["recording"][0].as_py())
                    rows["shard"].append(name.index)
                    rows["id"].append(identity)
                    rows["track"].append(track)
        group.clear()

    cut = [name for name in shards_in(f"{out}/rows") if name.count > 1]
    for name in sorted(cut, key=lambda name: (name.key, name.index)):
        if group and group[0][0].key != name.key:
            flush()
        table = read_shard(f"{out}/rows", name, ("recording", "found", "lanes", "objects"))
        if len(table):
            group.append((name, table))
    flush()
    types = [("recording", pa.string()), ("shard", pa.int32()), ("id", pa.int32()), ("track", pa.int64())]
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.table(rows, schema=pa.schema(types)), buffer)
    write_whole(out, "tracks.parquet", buffer.getvalue().to_pybytes())
