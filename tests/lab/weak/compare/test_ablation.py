"""The ablation's arithmetic, on drawn instances with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from rtseg.lab.weak import similarity_graph
from rtseg.lab.weak.annotations import Proposals
from rtseg.lab.weak.compare.ablation import HEADER, ablate, ablation_cells, ablation_table
from rtseg.lab.weak.keywords.regions import region_probabilities
from rtseg.lab.weak.keywords.tag_inputs import TagInputs
from rtseg.lab.weak.tags.synthetic import SyntheticSettings, draw_instances


def _inputs(settings: SyntheticSettings) -> tuple[TagInputs, np.ndarray]:
    data = draw_instances(settings)
    none = np.zeros(0, np.int32)
    empty = Proposals((), none.reshape(0, 2), none, none.reshape(0, 4), none, none, ())
    classes = tuple(f"class {i}" for i in range(settings.classes))
    edges, weights = similarity_graph(data.features)
    attention, allowed = data.probabilities, data.allowed
    regions = region_probabilities(data.features, attention, allowed, allowed.mean(0))
    return TagInputs([], empty, classes, allowed, attention, regions, edges, weights), data.truth


def test_each_step_of_table_1a_improves() -> None:
    inputs, truth = _inputs(SyntheticSettings(instances=1500, noise_ratio=0.08))
    random, attention, filtered, graph, both, regions, joined, kept = ablate(inputs, truth, 30.0, 0.92)
    assert random.objects < attention.objects < graph.objects
    assert graph.precision < both.precision
    assert filtered.precision < both.precision
    assert random.rejected == attention.rejected == graph.rejected == 0
    assert filtered.rejected == both.rejected == kept.rejected == 120
    assert attention.objects < regions.objects
    assert joined.precision < kept.precision
    assert both.noise > 60  # far more than the 8 % that chance would find
    # Of the frames with one keyword any way but rejection is right.
    single = inputs.allowed.sum(1) == 1
    share = (truth >= 0)[~single].sum() / (truth >= 0).sum()
    assert graph.objects == pytest.approx(share * graph.ambiguous + 1 - share)


def test_random_is_what_chance_gives() -> None:
    inputs, truth = _inputs(SyntheticSettings(instances=3000))
    random = ablate(inputs, truth, 30.0, 1.0)[0]
    expected = np.mean(1 / inputs.allowed.sum(1)[truth >= 0])
    assert random.objects == pytest.approx(expected, abs=0.005)


def test_the_table_stands_beside_the_papers() -> None:
    inputs, truth = _inputs(SyntheticSettings(instances=60))
    rows = ablate(inputs, truth, 30.0, 0.95)
    assert [row.paper for row in rows] == [(56.4, 61.3), (62.0, 62.7), None, (64.0, 64.9), (64.5, 65.6), *[None] * 3]
    assert all(len(ablation_cells(row)) == len(HEADER) for row in rows)
    console = Console(width=200, record=True, quiet=True)
    console.print(ablation_table(rows))
    # Without an object nothing can be said, and nothing fails.
    assert ablation_cells(ablate(inputs, np.full_like(truth, -1), 30.0, 0.95)[0])[2] == "-"
