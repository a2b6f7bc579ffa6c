"""Of rendered drives with a bonnet it is learned, of those without one nothing, and no line is found on it since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import ArgumentError
from rtseg.lab.studies.ignored import rendered, score_frames, score_recordings, table
from tests.instance_networks import write_instance_model
from tests.threshold_network import write_threshold_model

SIZE = (144, 256)


@pytest.mark.slow
def test_a_bonnet_is_learned_and_the_road_is_not(tmp_path: Path) -> None:
    model = str(write_threshold_model(tmp_path / "thresholds"))
    bare, dark = (score_frames(name, frames, model) for name, frames in rendered(2, 6.0, SIZE))
    assert not bare.learned
    assert bare.lost == bare.late == bare.hidden == 0
    assert bare.seen > 0
    assert len(dark.learned) == 1
    assert 3 < dark.learned[0][0] < 5
    assert dark.covered > 0.98
    assert dark.late == dark.points == 0
    assert dark.hidden < 0.06 * dark.seen
    shown = table([bare, dark])
    assert shown.row_count == 2
    assert next(iter(shown.columns[2].cells)) == "nothing"


def test_models_of_objects_are_refused(tmp_path: Path) -> None:
    model = write_instance_model(tmp_path / "m", "graph_merge")
    with pytest.raises(ArgumentError, match="lane model"):
        next(score_recordings([], 1, 1.0, str(model)))
    assert np.isnan(score_frames("none", [], str(model)).covered)
