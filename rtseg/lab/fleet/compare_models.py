"""Two models replayed over the same shards, and compared: the gate of a release in one command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtseg.lab.fleet.compare import Comparison, GateRule, compare_jobs
from rtseg.lab.fleet.page import FleetReport
from rtseg.lab.fleet.replay import replay_fleet
from rtseg.runtime import find_model


def compare_models(
    a: str, b: str, sources: Sequence[str], out: str | Path, gate: Sequence[GateRule] = (), **settings: Any
) -> Comparison:
    """Replay recordings through two models, and compare what they find frame by frame.

    The replays lie in ``A`` and ``B`` in `out`, and what is done of them is not done again.

    Args:
        a: model that is there, bundled or a folder.
        b: model that is to replace it.
        sources: as of :func:`rtseg.lab.fleet.sources.find_recordings`.
        out: local or remote folder to write, seen by all workers under this name.
        gate: rules that B has to keep.
        settings: as of :func:`rtseg.lab.fleet.replay.replay_fleet`.

    Returns:
        The comparison; `faults` has the recordings that one of the models, or both, gave nothing for.

    Raises:
        ConfigError: `out` holds the results of other models, or the gate names a metric that is not there.
        MediaError: no frame is in both, or files cannot be read or written.
        ModelError: a model is not to be had.
        BackendError: no worker could be started.
    """
    for model in (a, b):
        find_model(model)  # before the first replay, which takes long
    folders = f"{out}/A", f"{out}/B"
    reports = [
        replay_fleet(sources, folder, model, **{"bags": 0, **settings})
        for folder, model in zip(folders, (a, b), strict=True)
    ]
    return replace(compare_jobs(*folders, out, gate), faults=_faults(*reports))


def _faults(a: FleetReport, b: FleetReport) -> tuple[tuple[str, str], ...]:
    """What kept a recording from being replayed, once where it was the same for both."""
    return tuple(dict.fromkeys(fault for one in (a, b) for fault in (*one.faults, *one.damaged)))
