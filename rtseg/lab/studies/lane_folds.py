"""Cross-validation of a lane training: each real frame is scored by a network that never saw it or its neighbors.

    rtseg lab lane-folds lanes-lite-fold --data ../shared/data/lanes/tusimple_train --out out/folds

The frames are cut into blocks in the order of their clips, since those taken one after the other look alike. Each block
is left out once: a network trains on the others, is packaged as any model, and is scored on the block.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from rtseg.errors import ConfigError, DatasetError
from rtseg.files import write_text
from rtseg.lab.data.tusimple import LabelledImage, read_labels, write_labels
from rtseg.lab.scores.lanes.evaluate import LaneEvaluation, evaluate_lanes
from rtseg.lab.studies.lane_page import frames_table
from rtseg.loading import load
from rtseg.media.natural_order import natural_key


def split_folds(labels: Sequence[LabelledImage], folds: int) -> list[list[LabelledImage]]:
    """Cut labelled frames into blocks of neighboring clips, of the same length but for one frame.

    Raises:
        ConfigError: fewer than two folds.
        DatasetError: fewer frames than folds.
    """
    if folds < 2:
        raise ConfigError(f"expected 2 folds or more, got {folds}")
    if len(labels) < folds:
        raise DatasetError(f"expected at least a frame for each of {folds} folds, got {len(labels)}")
    ordered = sorted(labels, key=lambda label: natural_key(label.clip))
    edges = np.linspace(0, len(ordered), folds + 1).round().astype(int)
    return [ordered[a:b] for a, b in pairwise(edges)]


def cross_validate(
    config: str | Path,
    data: Path,
    out: Path,
    folds: int = 4,
    start: str | None = None,
    cache: Path | None = None,
) -> list[LaneEvaluation]:
    """Train and score a lane network once for each fold.

    Args:
        config: training configuration; what it starts from must not have seen the frames either.
        data: TuSimple folder.
        out: folder for the folds' labels, runs and models, and ``folds.md``.
        folds: how many.
        start: as `rtseg.lab.training.train.train` takes it.
        cache: folder of rendered frames; `out/rendered` by default.

    Returns:
        Scores of the blocks left out, and of all frames together.

    Raises:
        ConfigError, DatasetError, ModelError: see `rtseg.lab.training.train.train` and `split_folds`.
    """
    from rtseg.lab.deploy.package import package_model
    from rtseg.lab.training.train import train

    blocks = split_folds(read_labels(data), folds)
    scores = []
    for k, block in enumerate(blocks):
        folder = out / f"fold-{k}"
        seen, unseen = folder / "seen", folder / "unseen"
        _write_set([label for other in blocks if other is not block for label in other], seen)
        _write_set(block, unseen)
        train(config, [seen], folder / "run", cache=cache or out / "rendered", start=start)
        package_model(folder / "run", folder / "model", [seen])
        pipeline = load(folder / "model")
        one = evaluate_lanes(pipeline, "labelled", unseen, out=folder / "report")
        pipeline.close()
        scores.append(replace(one, label=f"{block[0].clip} to {block[-1].clip}"))
    images = tuple(image for one in scores for image in one.images)
    scores.append(LaneEvaluation(images, "all frames, each left out once"))
    write_text(out / "folds.md", folds_table(scores) + "\n")
    return scores


def folds_table(scores: Sequence[LaneEvaluation]) -> str:
    """What :func:`cross_validate` gives, as a Markdown table."""
    return frames_table(scores, "left out")


def _write_set(labels: Sequence[LabelledImage], folder: Path) -> None:
    """A TuSimple folder of its own, pictures and all: quantization, too, must see none that are left out."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    copies = [shutil.copyfile(x.image, images / f"{i:05d}{x.image.suffix}") for i, x in enumerate(labels)]
    write_labels([replace(label, image=copy) for label, copy in zip(labels, copies, strict=True)], folder)
