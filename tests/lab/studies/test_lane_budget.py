"""Error budgets of networks whose errors are known: what truth mends is the stage that was spoilt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.lab.render import Drive
from rtseg.lab.scores.lanes.samples import LaneSample, rendered_samples
from rtseg.lab.scores.true_maps import true_lane_maps
from rtseg.lab.studies.lane_budget import STAGES, TRACKING, drive_budget, lane_budget, line_owners, losses
from rtseg.lab.studies.lane_confidence import calibrate_confidence, write_calibration
from rtseg.lanes import LaneDecoder
from rtseg.lanes.interpreter import lane_settings
from rtseg.runtime.card import ModelCard, ModelInput
from tests.instance_networks import write_instance_model
from tests.lanes.calibrated import calibrated
from tests.threshold_network import write_threshold_model

Spoil = Callable[[np.ndarray], np.ndarray]


class KnownNetwork:
    """Gives the maps of a perfect network, spoilt."""

    def __init__(self, card: ModelCard, samples: list[LaneSample], spoil: Spoil = lambda maps: maps) -> None:
        self.card, self._spoil = card, spoil
        self._truth = {sample.image.tobytes(): sample for sample in samples}

    def head_maps(self, frame):
        sample = self._truth[frame.image.tobytes()]
        maps = true_lane_maps(self.card, sample.truth, frame.size)
        return {name: self._spoil(values.copy()) for name, values in maps.items()}, None


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> ModelCard:
    plain = ModelCard.load(write_threshold_model(tmp_path_factory.mktemp("m") / "thresholds") / "card.yaml")
    return plain.model_copy(update={"input": ModelInput(**{**plain.input.model_dump(), "width": 320, "height": 192})})


@pytest.fixture(scope="module")
def samples() -> list[LaneSample]:
    drawn = rendered_samples(6, size=(180, 320))
    return [sample for sample in drawn if len(sample.truth) > 1]


def all_in_one_color(maps: np.ndarray) -> np.ndarray:
    maps[:, 1] = maps[:, 1:].max(axis=1)
    maps[:, 2:] = -9
    return maps


def a_line_made_up(maps: np.ndarray) -> np.ndarray:
    rows = np.arange(maps.shape[2] // 8, maps.shape[2] // 2)
    maps[:, 6, rows, rows // 3] = maps[:, 6, rows, rows // 3 + 1] = 9
    return maps


def test_true_maps_give_the_truth_back(card, samples):
    found = lane_budget(KnownNetwork(card, samples), samples)
    assert tuple(found) == STAGES
    assert found["as it is"].culane.f1 > 0.9
    assert found["true maps, all else ours"].culane == found["as it is"].culane
    assert found["true colors at full size, components, joining and fit ours"].culane.f1 > 0.9


def test_what_was_spoilt_is_what_truth_mends(card, samples):
    made_up = lane_budget(KnownNetwork(card, samples, a_line_made_up), samples)
    assert made_up["true colors, joining and fit"].culane.false_positives >= len(samples) - 1
    assert made_up["and nothing made up"].culane.false_positives == 0
    assert made_up["true maps, all else ours"].culane.f1 > 0.9
    costs = losses(made_up)
    assert max(costs, key=costs.get) == "lines made up"
    spent = sum(cost for stage, cost in costs.items() if stage != "decoding true maps")
    assert spent == pytest.approx(100 - 100 * made_up["as it is"].culane.f1)

    def shifted(maps: np.ndarray) -> np.ndarray:
        return np.roll(maps, 1, axis=3)

    moved = lane_budget(KnownNetwork(card, samples, shifted), samples)
    assert moved["true fit"].culane.f1 > moved["as it is"].culane.f1 + 0.1


def test_true_colors_mend_wrong_ones(card, samples):
    found = lane_budget(KnownNetwork(card, samples, all_in_one_color), samples)
    mended = found["true colors, joining and fit"].culane.f1
    assert mended > 0.95
    assert mended >= found["true joining and fit"].culane.f1 >= found["as it is"].culane.f1


def test_pixels_belong_to_the_nearest_line_in_reach():
    lines = (np.array([[40.0, 10], [40, 90]]), np.array([[60.0, 20], [60, 60]]), np.zeros((1, 2)))
    owners = line_owners([line.astype(np.float32) for line in lines], (100, 640))
    assert owners[50, 40] == owners[50, 48] == 1
    assert owners[50, 52] == owners[50, 60] == 2
    assert owners[70, 60] == 0, "below the end of the second, and 20 px from the first"
    assert not owners[:10].any()
    assert set(np.unique(owners)) == {0, 1, 2}


@pytest.mark.slow
def test_drives_are_scored_with_and_without_tracking(card):
    drive = Drive(3, 0.6, 10.0, (90, 160))
    frames = [LaneSample("", r.image, r.lanes, np.zeros((0, 0)), np.zeros(0), {}) for r in drive]
    found = drive_budget(KnownNetwork(card, frames), [("day", drive)])
    assert tuple(found) == TRACKING
    assert all(one.frames == len(frames) for one in found.values())
    assert found["network, tracked"] == found["true maps, tracked"]
    assert found["true maps, tracked"].recall > 0.5
    assert found["true maps, each frame alone"].carried == 0


def test_confidence_is_fitted_to_what_is_right(card, samples):
    network = KnownNetwork(card, samples, a_line_made_up)
    calibration = calibrate_confidence(network, [samples])
    decode = LaneDecoder(lane_settings(card)[0])
    for sample in samples[:3]:
        found = decode(_maps(network, sample), sample.image.shape[:2])
        assert calibrated(found.measures, calibration).max() > 0.5


def _maps(network: KnownNetwork, sample: LaneSample) -> np.ndarray:

    return network.head_maps(Frame(sample.image))[0]["logits"][0]


def test_a_card_takes_a_calibration_and_keeps_the_rest(tmp_path):
    folder = write_threshold_model(
        tmp_path / "m", grouping={"method": "lanes", "parameters": {"decoder": {"min_rows": 0.02}}}
    )
    before = ModelCard.load(folder / "card.yaml")
    written = ModelCard.load(write_calibration(folder, (-8.0, 1.0, 3.0)))
    decoding, _ = lane_settings(written)
    assert tuple(decoding.calibration) == (-8.0, 1.0, 3.0)
    assert decoding.min_rows == 0.02
    assert written.model_copy(update={"grouping": before.grouping}) == before


def test_models_of_other_tasks_are_refused(tmp_path):
    other = ModelCard.load(write_instance_model(tmp_path / "m", "coloring") / "card.yaml")
    with pytest.raises(ConfigError, match="lane model"):
        calibrate_confidence(KnownNetwork(other, []), [])
