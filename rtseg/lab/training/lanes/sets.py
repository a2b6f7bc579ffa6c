"""The labelled sets of a configuration: which frames of a folder are learned from, and which are kept back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rtseg.errors import ConfigError, DatasetError
from rtseg.lab.data.tusimple import LabelledImage, read_labels
from rtseg.lab.training.config import LaneSetConfig
from rtseg.lab.training.lanes.datasets import LabelledFrame

logger = logging.getLogger("rtseg")


def find_set(folder: str, data: Sequence[Path]) -> Path:
    """Find a set's folder: in one of the folders of data, or one of these itself.

    Raises:
        ConfigError: it is in none.
    """
    for root in data:
        if (root / folder).is_dir():
            return root / folder
        if root.name == folder and root.is_dir():
            return root
    named = ", ".join(str(root) for root in data) or "none"
    raise ConfigError(
        f"expected the set {folder} in a folder of data (--data), got {named}; "
        "train on frames of your own with lanes-lite-finetune, which needs no sets"
    )


def split_set(
    config: LaneSetConfig, labels: Sequence[LabelledImage]
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Give the labels that are learned from, and those that are kept back."""
    learned: list[LabelledImage] = []
    kept: list[LabelledImage] = []
    for label in labels:
        if not _named(label, config.only) or _named(label, config.leave_out):
            continue
        (kept if _named(label, config.keep_back) else learned).append(label)
    return learned, kept


def open_set(config: LaneSetConfig, data: Sequence[Path]) -> tuple[list[LabelledFrame], list[LabelledFrame]]:
    """Open a set: the frames that are learned from, and those that are kept back.

    Frames of which the labels tell nothing, as of an own lane without boundaries, are left out and counted.

    Raises:
        ConfigError: there is no such folder among the data, or it waits for the labels of a teacher.
        DatasetError: labels do not parse, a picture or its mask is not there, or no frame is left to learn from.
    """
    folder = find_set(config.folder, data)
    if config.teacher:
        raise ConfigError(
            f"expected {folder} to be labelled by {config.teacher}; train with rtseg train, which does it"
        )
    parts = split_set(config, read_labels(folder))
    learned, kept = ([_frame(config, label) for label in labels if _tells(config, label)] for labels in parts)
    silent = sum(map(len, parts)) - len(learned) - len(kept)
    if silent:
        logger.warning("%s: %d frames left out, whose labels tell nothing", config.name, silent)
    if config.share and not learned:
        raise DatasetError(f"expected frames to learn from in {folder} as {config.name}, the patterns leave none")
    return learned, kept


def _named(label: LabelledImage, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in (label.group, label.image.stem) for pattern in patterns)


def _tells(config: LaneSetConfig, label: LabelledImage) -> bool:
    return config.supervision != "ego" or 1 <= len(label.polylines()) <= 2


def _frame(config: LaneSetConfig, label: LabelledImage) -> LabelledFrame:
    if config.supervision == "mask" and label.mask is None:
        raise DatasetError(f"expected a mask of the paint of {label.image}, its label names none")
    lanes = () if config.supervision == "none" else label.polylines()
    mask = label.mask if config.supervision == "mask" else None
    for file in (label.image, mask):
        if file is not None and not file.is_file():
            raise DatasetError(f"expected the labelled picture {file}, which is not there")
    return LabelledFrame(label.image, lanes, label.ignored_polylines(), config.supervision, mask)
