"""What an int8 calibration did, as a recipe (YAML) and as a page (HTML)."""

from __future__ import annotations

from pathlib import Path

from rtseg.counted import counted
from rtseg.lab.deploy.calibration_result import Int8Calibration
from rtseg.lab.deploy.network_files import FLOAT, INT8, INT8_TENSORRT
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.plots import plot_bars
from rtseg.lab.report.report import ReportData, write_report

_NAMES = {FLOAT: "fp32", INT8: "int8 for CPUs", INT8_TENSORRT: "int8 for TensorRT"}
_COLUMNS = ("SQNR dB", "error %", "added %")


def write_calibration_report(result: Int8Calibration, folder: Path) -> None:
    """Write ``<model>.yaml`` and ``<model>.html`` into `folder`.

    Raises:
        MediaError: they cannot be written.
    """
    result.recipe.dump(folder / f"{result.card.name}.yaml")
    write_report(folder / f"{result.card.name}.html", _page(result))


def _page(result: Int8Calibration) -> ReportData:
    figures = [(f"{result.metric}, {_NAMES[file]}", f"{100 * value:.2f} %") for file, value in result.values.items()]
    figures += [(f"points lost, {_NAMES[file]}", f"{loss:.2f}") for file, loss in result.losses.items()]
    errors = [{error.layer: error for error in result.errors[file]} for file in (INT8, INT8_TENSORRT)]
    rows = []
    for layer in errors[0]:
        cells = [
            text
            for one in (by_layer[layer] for by_layer in errors)
            for text in (f"{one.sqnr_db:.1f}", f"{100 * one.error:.2f}", f"{100 * one.added:.2f}")
        ]
        kept = "float, sensitive" if layer in result.in_float else "float, head" if layer in result.head else "int8"
        rows.append([layer, *cells, kept])
    header = ["layer", *(f"{what}, {form}" for form in ("CPU", "TensorRT") for what in _COLUMNS)]
    bars = plot_bars(
        {_NAMES[file]: [100 * error.error for error in result.errors[file]] for file in (INT8, INT8_TENSORRT)},
        "layer, from input to output",
        "relative error of its output, %",
    )
    notes = [f"{len(result.in_float)} sensitive layers stay in float: {', '.join(result.in_float)}"]
    return ReportData(
        title=f"int8 calibration of {result.card.name}",
        subtitle=f"{result.metric} on {result.dataset}; {counted(result.card.max_int8_loss, 'point')} may be lost",
        figures=figures,
        facts=[
            *((f"calibration frames, {source.name}", str(source.frames)) for source in result.sources),
            ("ranges", result.settings.method),
            *machine_facts(),
        ],
        plots=[("Error by layer", bars)],
        tables=[("Layers", [*header, "kept in"], rows)],
        notes=notes if result.in_float else [],
    )
