"""Which frames a confidence is fitted to, and how much each weighs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.lab.studies.lane_confidence import calibrate_confidence, calibrate_model, learned_samples
from rtseg.lab.training.config import LaneSetConfig
from rtseg.lanes import LaneDecoder
from rtseg.lanes.interpreter import lane_settings
from rtseg.loading import load
from rtseg.runtime.card import ModelCard
from tests.lanes.calibrated import calibrated
from tests.threshold_network import two_lane_road, write_threshold_model

ROWS = list(range(60, 144, 4))


def write_set(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> None:
    """Pictures labelled in TuSimple's form with the two lines of `two_lane_road`."""
    folder.mkdir(parents=True)
    lines = [[70 - (y - 40) // 3 for y in ROWS], [180 + (y - 40) // 3 for y in ROWS]]
    labels = []
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
        labels.append({"raw_file": f"{name}.png", "h_samples": ROWS, "lanes": lines})
    (folder / "labels.json").write_text("\n".join(map(json.dumps, labels)))


def set_of(folder: str, **fields: object) -> LaneSetConfig:
    return LaneSetConfig.model_validate({"folder": folder, "share": 1.0, **fields})


def test_what_is_kept_back_is_not_fitted_to(tmp_path: Path) -> None:
    write_set(tmp_path / "roads", {f"{name}_{i}": two_lane_road() for name in ("day", "night") for i in range(3)})
    found = list(learned_samples(set_of("roads", keep_back=["night_*"]), [tmp_path]))
    assert len(found) == 3
    assert all(len(sample.truth) == 2 for sample in found)
    assert all(not sample.truth for sample in learned_samples(set_of("roads", supervision="none"), [tmp_path]))


def test_frames_of_each_set_weigh_the_same_however_many_lines_are_found_there(tmp_path: Path) -> None:
    pipeline = load(write_threshold_model(tmp_path / "m"), device="cpu")
    write_set(tmp_path / "roads", {"road": two_lane_road()})
    (right,) = learned_samples(set_of("roads"), [tmp_path])
    wrong, bare = replace(right, truth=()), replace(right, truth=(), image=np.zeros_like(right.image))
    for frames, share in ((0, 1 / 2), (9, 10 / 11)):
        calibration = calibrate_confidence(pipeline, [[right], [wrong, *frames * [bare]]])
        decode = LaneDecoder(lane_settings(pipeline.card)[0])
        maps, _ = pipeline.head_maps(Frame(right.image))
        measures = decode(maps["logits"][0], (144, 256)).measures
        assert len(measures) == 2
        np.testing.assert_allclose(calibrated(measures, calibration), share, atol=0.02)


def test_the_card_gets_what_fits_the_sets_that_can_tell(tmp_path: Path) -> None:
    folder = write_threshold_model(tmp_path / "m")
    write_set(tmp_path / "roads", {"one": two_lane_road(), "two": two_lane_road()})
    write_set(tmp_path / "bare", {"one": np.asarray(cv2.GaussianBlur(two_lane_road(), (0, 0), 5), np.uint8)})
    sets = [
        set_of("roads"),
        set_of("bare", supervision="none"),
        set_of("not there", supervision="ego"),
        set_of("nor this", share=0.0),
    ]
    card, calibration = calibrate_model(str(folder), [tmp_path], 0, sets)
    assert tuple(lane_settings(ModelCard.load(card))[0].calibration or ()) == calibration
