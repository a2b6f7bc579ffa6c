"""Cross-validation of lane trainings: blocks of neighboring clips, each left out once."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ConfigError, DatasetError
from rtseg.lab.data.tusimple import LabelledImage, read_labels, write_labels
from rtseg.lab.studies.lane_folds import cross_validate, split_folds
from rtseg.lab.training.config import TrainingConfig
from rtseg.media.images import write_image

ROWS = np.arange(20.0, 60.0, 4.0)


def frame(clip: str, image: Path = Path("x.png")) -> LabelledImage:
    return LabelledImage(image, image.name, clip, np.full((1, ROWS.size), 40.0), ROWS, np.empty((0, ROWS.size)))


@given(
    st.permutations([f"clips/a/{number}/20.jpg" for number in (3, 20, 100, 101, 4000, 5000, 5001)]), st.integers(2, 7)
)
def test_blocks_are_neighboring_clips_and_hold_every_frame_once(clips: list[str], folds: int) -> None:
    blocks = split_folds([frame(clip) for clip in clips], folds)
    assert len(blocks) == folds
    sizes = [len(block) for block in blocks]
    assert max(sizes) - min(sizes) <= 1
    numbers = [int(label.clip.split("/")[2]) for block in blocks for label in block]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == len(clips)


def test_folds_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="2 folds or more"):
        split_folds([frame("a")] * 3, 1)
    with pytest.raises(DatasetError, match="each of 4 folds, got 3"):
        split_folds([frame("a")] * 3, 4)


@pytest.mark.slow
def test_every_frame_is_scored_by_a_network_that_never_saw_it(tmp_path: Path) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rng = np.random.default_rng(0)
    labels = []
    for i in range(4):
        path = tmp_path / "data" / f"{i}.png"
        write_image(path, rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
        labels.append(frame(f"clips/{10 - i}", path))
    write_labels(labels, tmp_path / "data")
    config = TrainingConfig.model_validate(
        {
            "name": "small",
            "network": {"backbone": "resnet18-half", "channels": 8, "lanes": 4},
            "input": {"width": 96, "height": 64},
            "data": {"rendered_size": [64, 96]},
            "epochs": 1,
            "samples_per_epoch": 4,
            "batch": 2,
            "precision": "fp32",
            "workers": 0,
            "threads": 1,
        }
    )
    out = tmp_path / "folds"
    scores = cross_validate(config, tmp_path / "data", out, 2)
    assert [len(one.images) for one in scores] == [2, 2, 4]
    assert scores[0].label == "clips/7 to clips/8"
    for k in range(2):
        seen, unseen = ({label.clip for label in read_labels(out / f"fold-{k}" / part)} for part in ("seen", "unseen"))
        assert not seen & unseen
        assert len(seen | unseen) == 4
        assert len(list((out / f"fold-{k}" / "seen" / "images").iterdir())) == 2
    assert "all frames" in (out / "folds.md").read_text()
