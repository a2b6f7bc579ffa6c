"""On a rendered drive a wrong pitch is told within the minute, and the right mounting is not called wrong."""

from __future__ import annotations

import pytest

from rtseg.lab.studies.mounting import roads, score_mounting, summary, table, true_lanes


@pytest.mark.slow
def test_a_drive_by_true_lines() -> None:
    scores = list(score_mounting(roads(1, 45.0), true_lanes))
    score = scores[0]
    assert score.false is None
    assert score.seconds == pytest.approx(44.75)
    assert max(abs(score.off[0]), abs(score.off[1])) < 0.5
    assert 20 < score.told["pitch +2"] < 45
    assert 20 < score.told["pitch -2"] < 45
    assert table(scores).row_count == 1
    assert "called wrong on 0" in summary(scores)[0]
