"""Scores that rank: fitted weights are those that made the overlaps, and what nobody knows does not count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtseg.errors import DatasetError
from rtseg.instances.quality import expected_overlap
from rtseg.lab.scores.instances.overlaps import Overlaps
from rtseg.lab.studies.mask_quality import fit_quality

SIZE = (320, 640)
WEIGHTS = (2.0, 0.5, 0.4)


def made(weights: tuple[float, float, float], count: int) -> Overlaps:
    """Masks, each over a true object of its own that it overlaps as the weights say."""
    rng = np.random.default_rng(5)
    areas = np.exp(rng.uniform(np.log(60), np.log(40_000), count)).astype(np.int64)
    scores = rng.uniform(0.2, 0.99, count)
    both = np.diag(np.rint(areas * expected_overlap(scores, areas, SIZE, weights)).astype(np.int64))
    nothing = np.zeros(count, np.int64)
    classes = np.zeros(count, np.int32)
    # The object is the part that is shared, so that this part of the mask is the overlap.
    return Overlaps(
        "a",
        SIZE,
        classes,
        scores,
        areas,
        classes,
        both.diagonal(),
        both,
        nothing,
        nothing[:, None],
        np.zeros(1, np.int64),
    )


def test_the_weights_that_made_the_overlaps_are_found() -> None:
    frame = made(WEIGHTS, 400)
    np.testing.assert_allclose(fit_quality([frame]), WEIGHTS, atol=0.05)


def test_what_nobody_knows_does_not_count() -> None:
    good, wrong = made(WEIGHTS, 300), made((-2.0, -0.5, 0.0), 300)
    unknown = replace(wrong, void=wrong.areas)
    np.testing.assert_allclose(fit_quality([good, unknown]), fit_quality([good]))
    with pytest.raises(DatasetError, match="found none"):
        fit_quality([unknown])
