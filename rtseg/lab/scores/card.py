"""Measured figures onto the card of the model that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtseg.runtime import find_model
from rtseg.runtime.card import Score


def write_scores(
    model: str | Path, dataset: str, metrics: Mapping[str, float], command: str, network: str | None = None
) -> Path:
    """Enter scores into ``card.yaml``; those of the same network, data set and metric are replaced in place.

    Args:
        model: bundled model or folder.
        dataset: what was measured on, with the number of frames.
        metrics: values by metric.
        command: that measures them again.
        network: which of the card's networks was measured; the preferred one by default.

    Returns:
        The card's path.

    Raises:
        ModelError: there is no such model or network.
    """
    found = find_model(model, network)
    card, path = found.card, found.path.parent / "card.yaml"
    entry = next(file for file in card.files if file.file == found.path.name)
    first = next(file for file in card.files if file.precision == entry.precision)
    named = None if entry == first else entry.file
    measured = {
        metric: Score(
            dataset=dataset,
            metric=metric,
            value=round(value, 4),
            precision=entry.precision,
            command=command,
            file=named,
        )
        for metric, value in metrics.items()
    }
    scores = []
    for score in card.scores:
        same = (score.dataset, score.precision, score.file) == (dataset, entry.precision, named)
        scores.append(measured.pop(score.metric, score) if same else score)
    card.model_copy(update={"scores": (*scores, *measured.values())}).dump(path)
    return path
