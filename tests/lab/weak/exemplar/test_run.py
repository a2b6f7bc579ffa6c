"""From pictures to a model without labels: every stage runs, resumes, and its products fit the next."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from rtseg.errors import ConfigError, WeakSupervisionError
from rtseg.grouping.solo import SoloSettings
from rtseg.lab.training.exemplar.files import read_masks
from rtseg.lab.weak.exemplar.pool import PoolSettings
from rtseg.lab.weak.exemplar.run import ExemplarSettings, stage_masks, train_without_labels
from rtseg.lab.weak.free_masks import FreeMaskSettings
from rtseg.loading import load
from rtseg.media.images import write_image
from rtseg.results import Instances

CONFIG = {
    "name": "tiny",
    "model": "exemplar-solo",
    "network": {"backbone": "efficientnet-lite0", "channels": 8, "mask_channels": 4, "head_layers": 1},
    "input": {"width": 128, "height": 64},
    "crop": {"width": 64, "height": 64},
    "masks": 4,
    "optimizer": {"rate": 1e-3, "warmup_steps": 0},
    "epochs": 1,
    "samples_per_epoch": 4,
    "batch": 2,
    "workers": 0,
    "threads": 1,
}


def draw_street(seed: int) -> np.ndarray:
    """A gray picture with two discs and a box that stand out."""
    rng = np.random.default_rng(seed)
    image = np.full((128, 256, 3), 110, np.uint8)
    for _ in range(2):
        center = int(rng.integers(40, 216)), int(rng.integers(40, 88))
        cv2.circle(image, center, 22, rng.integers(0, 256, 3).tolist(), -1)
    cv2.rectangle(image, (10, 70), (60, 110), (30, 30, 200), -1)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        write_image(folder / f"{i}.png", draw_street(i))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def settings(pictures: Path) -> ExemplarSettings:
    return ExemplarSettings(
        config=str(pictures / "config.yaml"),
        free=FreeMaskSettings(width=256, height=128, crops=1, least_area=0.002),
        pool=PoolSettings(count=3, agreement=0.0, crop=(0.4, 0.9), tries=40),
        decode=SoloSettings(candidates=20),
        confidence=0.0,
        name="tiny-solo",
    )


@pytest.mark.slow
def test_pictures_to_a_model_that_runs(pictures: Path, tmp_path: Path) -> None:
    run = train_without_labels(pictures, tmp_path, settings(pictures))
    names = ["frames", "free-masks", "training-0", "masks-0", "pool-1", "training-1", "masks-1", "engine"]
    assert list(run.stages) == names
    for name in ("free-masks", "masks-0", "masks-1"):
        files = stage_masks(run.stages[name].folder)
        assert [file.stem for file in files] == ["0", "1", "2", "3"]
        found = [read_masks(file) for file in files]
        assert all(masks.picture.is_file() for masks in found)
        # What masks show is known in every round, so that the embedding branch always learns.
        lengths = np.concatenate([np.linalg.norm(masks.embeddings, axis=1) for masks in found])
        assert lengths == pytest.approx(np.ones(sum(len(masks) for masks in found)), abs=1e-3)
        assert (run.stages[name].folder / "sheet.png").is_file()
    exemplar = cv2.imread(str(run.stages["pool-1"].folder / "0000.png"), cv2.IMREAD_UNCHANGED)
    assert exemplar is not None
    assert exemplar.shape[2] == 4
    assert set(np.unique(exemplar[..., 3])) <= {0, 255}
    pipeline = load(run.model, backend="onnxruntime", threads=1)
    pipeline.warm_up(128, 256)
    result = pipeline(draw_street(9))
    assert isinstance(result, Instances)
    assert pipeline.card.family == "exemplar_solo"
    assert pipeline.card.classes == ("object",)
    assert pipeline.card.grouping.parameters["keep_threshold"] == SoloSettings().keep_threshold  # above confidence
    assert result.labels.shape == (128, 256)
    assert not result.class_ids.any()

    # What is complete is kept, and a stage that went missing is made again.
    shutil.rmtree(run.stages["masks-1"].folder)
    again = train_without_labels(pictures, tmp_path, settings(pictures))
    assert [name for name, stage in again.stages.items() if not stage.reused] == ["masks-1"]
    assert again.stages["masks-1"].digest == run.stages["masks-1"].digest


def test_a_model_of_another_kind_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exemplar-solo"):
        train_without_labels(pictures, tmp_path, ExemplarSettings(config="lanes-lite"))


def test_pictures_in_which_nothing_stands_out(tmp_path: Path) -> None:
    for i in range(2):
        write_image(tmp_path / "blank" / f"{i}.png", np.full((128, 256, 3), 90, np.uint8))
    with pytest.raises(WeakSupervisionError, match=r"expected free masks in 2 pictures, got none: nothing stands out"):
        train_without_labels(tmp_path / "blank", tmp_path / "out", ExemplarSettings())
