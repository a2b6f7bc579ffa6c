"""How well ids stay with the objects of rendered streets: the tracker's alone, given true masks, and a model's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.instances import InstanceTracker
from rtseg.lab.render.street.street import CLASSES, RenderedStreet, StreetDrive
from rtseg.lab.scores.instances.identity import IdentityLog, idf1
from rtseg.ops import region_statistics
from rtseg.results import Instances, Lanes

FIRST_SEED = 960_000  # away from the seeds that training draws


def street_drives(count: int, seconds: float, fps: float = 15.0) -> Iterator[StreetDrive]:
    """Rendered drives through streets, 1280x640."""
    return (StreetDrive(FIRST_SEED + i, seconds, fps, size=(640, 1280)) for i in range(count))


def true_masks(street: RenderedStreet, tracker: InstanceTracker) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The true label image, 0 where objects are too small to tell apart, and the ids that `tracker` gives."""
    labels = np.maximum(street.instances, 0)
    count = len(street.ids)
    boxes = region_statistics(labels, count).boxes
    return labels, tracker.update(labels, boxes, street.class_ids, np.ones(count), street.stamp)[0]


def score_ids(
    pipeline: Callable[[Frame], Lanes | Instances],
    drives: Iterable[StreetDrive],
    progress: Callable[[str], None] = lambda told: None,
) -> dict[str, list[IdentityLog]]:
    """Drive through streets; what became of the ids, drive by drive, with true masks and with the pipeline's own.

    Args:
        pipeline: of an instance model; ids begin anew with each drive, since stamps go back.
        drives: the streets.
        progress: is told of each.

    Raises:
        ConfigError: if the pipeline finds lanes.
    """
    alone: list[IdentityLog] = []
    model: list[IdentityLog] = []
    for drive in drives:
        progress(f"street {drive.seed}")
        tracker = InstanceTracker(len(CLASSES))
        alone.append(IdentityLog())
        model.append(IdentityLog())
        for street in drive:
            unknown = street.instances < 0
            labels, ids = true_masks(street, tracker)
            truth = np.concatenate([[0], street.ids])[labels]
            alone[-1].update(truth, labels, ids, unknown)
            found = pipeline(Frame(street.image, stamp=street.stamp))
            if not isinstance(found, Instances):
                raise ConfigError("expected a model of instances, got one of lanes; choose another with --model")
            model[-1].update(truth, found.labels, found.ids, unknown)
    return {"true masks": alone, "the model's": model}


def table(scores: dict[str, list[IdentityLog]]) -> Table:
    """The scores of all drives together, as a table for the terminal."""
    shown = Table("masks", "objects", "found", "matched %", "switches", "IDF1 %")
    for name, logs in scores.items():
        objects, matched = sum(log.objects for log in logs), sum(log.matched for log in logs)
        cells = [objects, sum(log.found for log in logs), f"{100 * matched / max(objects, 1):.1f}"]
        cells += [sum(log.switches for log in logs), f"{100 * idf1(logs):.1f}"]
        shown.add_row(name, *map(str, cells))
    return shown
