"""Results files beside each other on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtseg.counted import counted
from rtseg.errors import DatasetError
from rtseg.lab.bench.result import BenchFile, BenchRun, Latency
from rtseg.lab.report.plots import plot_bars
from rtseg.lab.report.report import ReportData, write_report

_Column = tuple[str, BenchFile, BenchRun]


def write_comparison(files: Sequence[tuple[str, BenchFile]], out: Path) -> Path:
    """Write one self-contained HTML file that holds every run of every file against the first run of the first.

    Args:
        files: (name, results).
        out: the page.

    Returns:
        The path written.

    Raises:
        DatasetError: there is nothing to compare.
        MediaError: the page cannot be written.
    """
    columns = [(name, file, run) for name, file in files for run in file.runs]
    if not columns:
        raise DatasetError("expected results with at least one run, got none; write some with rtseg bench --json")
    names = _names(columns)
    runs = [run for _, _, run in columns]
    first, fastest = runs[0], max(range(len(runs)), key=lambda i: runs[i].sequential_fps)
    frames = {(run.size, run.encoding, run.scene) for run in runs}
    notes = (
        [] if len(frames) == 1 else ["What the frames show, their sizes or encodings differ; see the table of figures."]
    )
    notes += [
        f"{name}: {run.load_average:.1f} processes wanted a core on average while it was measured."
        for name, run in zip(names, runs, strict=True)
        if run.load_average is not None and run.load_average > run.threads + 0.5
    ]
    return write_report(
        out,
        ReportData(
            title="rtseg bench",
            subtitle=f"{counted(len(runs), 'run')}; the ratios are to {names[0]}",
            figures=[
                (f"frames a second one by one, {names[fastest]}", f"{runs[fastest].sequential_fps:.0f}"),
                (f"ms from image to result (p50), {names[fastest]}", f"{runs[fastest].host_to_host.p50:.2f}"),
            ],
            notes=notes,
            plots=[
                (
                    "Median and tail, image to result",
                    plot_bars(
                        {
                            name: [getattr(run.host_to_host, part) for part in ("p50", "p90", "p99")]
                            for name, run in zip(names, runs, strict=True)
                        },
                        "",
                        "ms",
                        ticks=("p50", "p90", "p99"),
                    ),
                ),
                ("Median of each stage", _stage_plot(names, runs)),
            ],
            tables=[
                ("Figures", ["", *names], _figures(runs)),
                ("Stages, p50 / p99 ms", ["stage", *names], _stages(runs)),
                (f"Medians over those of {names[0]}", ["stage", *names[1:]], _ratios(first, runs)),
                ("Plain code in the same run", list(_PEER_HEADER), _peers(names, runs)),
                ("Floor", ["", *names], _floors(runs)),
            ],
            facts=_facts(files),
        ),
    )


_PEER_HEADER = ("run", "plain code", "p50 ms", "p99 ms", "network p50 ms", "times slower")


def _names(columns: Sequence[_Column]) -> list[str]:
    """Short names: what differs between the runs, and a number where nothing does."""
    described = [
        (name, run.model, run.precision, run.backend["backend"], f"{run.size[1]}x{run.size[0]}", run.encoding)
        for name, _, run in columns
    ]
    differs = [len(set(values)) > 1 for values in zip(*described, strict=True)]
    names = [", ".join(value for value, kept in zip(one, differs, strict=True) if kept) or one[0] for one in described]
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _stage_names(runs: Sequence[BenchRun]) -> list[str]:
    return list(dict.fromkeys(stage.stage for run in runs for stage in run.stages))


def _of(run: BenchRun, name: str) -> Latency | None:
    return next((row for row in (*run.stages, *run.wholes) if row.stage == name), None)


def _stage_plot(names: Sequence[str], runs: Sequence[BenchRun]) -> str:
    stages = _stage_names(runs)
    values = {
        name: [0.0 if (row := _of(run, stage)) is None else row.p50 for stage in stages]
        for name, run in zip(names, runs, strict=True)
    }
    return plot_bars(values, "", "ms", ticks=stages)


def _figures(runs: Sequence[BenchRun]) -> list[list[str]]:
    rows = [
        ("model", [run.model for run in runs]),
        ("network", [f"{run.network} ({run.precision})" for run in runs]),
        ("backend", [run.backend["backend"] for run in runs]),
        ("device", [run.backend["device"] for run in runs]),
        ("threads", [str(run.threads) for run in runs]),
        ("frames", [f"{run.frames} of {run.scene}, {run.size[1]}x{run.size[0]}, {run.encoding}" for run in runs]),
        ("memory, MiB", [_value(run.resident.value) for run in runs]),
        ("memory on the card, MiB", [_value(run.device_memory.value) for run in runs]),
        ("power, W", [_value(run.power.value) for run in runs]),
        (
            "energy a frame, mJ",
            [_value(None if run.power.value is None else 1e3 * run.power.value / run.sequential_fps) for run in runs],
        ),
        ("frames a second, streamed", [f"{run.streamed_fps:.1f}" for run in runs]),
        ("frames a second, one by one", [f"{run.sequential_fps:.1f}" for run in runs]),
    ]
    return [[name, *values] for name, values in rows if any(value != "-" for value in values)]


def _stages(runs: Sequence[BenchRun]) -> list[list[str]]:
    wholes = list(dict.fromkeys(row.stage for run in runs for row in run.wholes))
    rows = []
    for stage in [*_stage_names(runs), *wholes]:
        found = [_of(run, stage) for run in runs]
        rows.append([stage, *("-" if row is None else f"{row.p50:.2f} / {row.p99:.2f}" for row in found)])
    return rows


def _ratios(first: BenchRun, runs: Sequence[BenchRun]) -> list[list[str]]:
    rows = []
    for stage in [*_stage_names(runs), "decode to publish", "host to host"]:
        base = _of(first, stage)
        found = [_of(run, stage) for run in runs[1:]]
        if base is not None and base.p50 > 0 and any(found):
            rows.append([stage, *("-" if row is None else f"{row.p50 / base.p50:.2f}" for row in found)])
    return rows


def _peers(names: Sequence[str], runs: Sequence[BenchRun]) -> list[list[str]]:
    rows = []
    for name, run in zip(names, runs, strict=True):
        for peer in run.peers:
            if peer.total is None or peer.infer is None:
                rows.append([name, peer.name, "-", "-", "-", peer.reason])
                continue
            cells = (peer.total.p50, peer.total.p99, peer.infer.p50, peer.times_slower)
            rows.append([name, peer.name, *(_value(cell) for cell in cells)])
    return rows


def _floors(runs: Sequence[BenchRun]) -> list[list[str]]:
    floors = [run.floor for run in runs]
    if not any(floors):
        return []
    rows = [["multiplications, millions", *(_value(f.macs / 1e6 if f and f.macs else None) for f in floors)]]
    for label, name in (
        ("matrix rate, GOP/s", "giga_ops"),
        ("copy bandwidth, GB/s", "copy_gigabytes"),
        ("operations over the rate, ms", "compute_ms"),
        ("bytes over the bandwidth, ms", "copy_ms"),
        ("network, times over", "infer_times_over"),
        ("whole frame, times over", "times_over"),
    ):
        rows.append([label, *(_value(getattr(f, name) if f else None) for f in floors)])
    rows.insert(1, ["measured in", *(f.precision if f and f.precision else "-" for f in floors)])
    if any(f and f.reason for f in floors):
        rows.append(["why none", *(f.reason if f and f.reason else "-" for f in floors)])
    return rows


def _facts(files: Sequence[tuple[str, BenchFile]]) -> list[tuple[str, str]]:
    facts = []
    for name, file in files:
        facts.append((name, f"{file.hardware}; {file.date}; commit {file.commit or 'unknown'}"))
        facts += [(key, value) for key, value in file.facts.items()]
        facts.append(("versions", ", ".join(f"{key} {value}" for key, value in file.versions.items())))
        for run in file.runs:
            for what, measured in (("power", run.power), ("memory on the card", run.device_memory)):
                if measured.value is None:
                    facts.append((f"{what}, {run.network}", f"not measured: {measured.reason}"))
    return facts


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
