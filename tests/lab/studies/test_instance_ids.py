"""Ids on a rendered street: the truth keeps its own, and a model that finds nothing keeps none."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.frame import Frame
from rtseg.lab.render.street.street import StreetDrive
from rtseg.lab.scores.instances.identity import idf1
from rtseg.lab.studies.instance_ids import score_ids, table
from rtseg.results import Instances


def _blind(frame: Frame) -> Instances:
    empty = np.zeros(0)
    return Instances(
        np.zeros(frame.size, np.int32), empty.astype(np.int32), empty.astype(np.int32), empty.astype(np.float32),
        np.zeros((0, 4), np.float32), empty.astype(np.int64), np.zeros((0, 2), np.float32), frame.stamp,
    )  # fmt: skip


@pytest.mark.slow
def test_true_masks_keep_their_ids_on_a_rendered_street() -> None:
    scores = score_ids(_blind, [StreetDrive(4, 2.0, 15.0, (160, 320))])
    (alone,), (model,) = scores.values()
    assert alone.matched == alone.objects == alone.found > 50
    assert idf1([alone]) > 0.85
    assert (model.objects, model.found, idf1([model])) == (alone.objects, 0, 0.0)
    assert table(scores).row_count == 2
