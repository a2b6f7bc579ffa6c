"""The engines in the cache, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from rtseg.printing import visible
from rtseg.runtime.tensorrt.engine_cache import EngineRecord, EngineState


def engine_table(states: Sequence[EngineState]) -> Table:
    """One row an engine: what it is for, its size, and what is wrong with it."""
    table = Table("model", "target", "precision", "TensorRT", "MB", "built", "state")
    for state in states:
        if state.record is None:
            table.add_row(state.path.name, "", "", "", "", "", Text(visible(state.fault), "red"))
            continue
        record = state.record
        table.add_row(
            record.model,
            _target(record),
            record.precision,
            record.library,
            f"{record.engine_bytes / 1e6:.1f}",
            record.built,
            Text("ok", "green"),
        )
    return table


def _target(record: EngineRecord) -> str:
    placed = f" DLA {record.dla_layers}/{record.layers}" * record.dla
    return f"{record.target}{placed} {record.card}".rstrip()
