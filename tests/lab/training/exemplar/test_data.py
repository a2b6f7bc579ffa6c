"""Samples with masks: picture and masks move together; pools and files that do not fit are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtseg.errors import DatasetError, WeakSupervisionError
from rtseg.lab.data.coco import decode_segmentation
from rtseg.lab.training.configurations import load_config, parse_config
from rtseg.lab.training.exemplar.config import ExemplarConfig
from rtseg.lab.training.exemplar.data import MaskDataset, load_pool, mask_files
from rtseg.lab.training.exemplar.files import PictureMasks, coco_results, read_masks, write_masks
from rtseg.lab.training.exemplar.module import ExemplarModule, pairwise_warmup
from rtseg.lab.training.instances.augment import InstanceAugmentConfig
from rtseg.media.images import write_image

MEAN, STD = (127.0,) * 3, (128.0,) * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture that is white exactly where its one mask of known embedding is."""
    mask = np.zeros((64, 128), np.bool_)
    mask[20:50, 30:80] = True
    image = np.where(cv2.resize(mask.view(np.uint8), (256, 128), interpolation=cv2.INTER_NEAREST)[..., None], 255, 0)
    write_image(tmp_path / "frame.png", np.repeat(image, 3, axis=2).astype(np.uint8))
    other = np.zeros_like(mask)
    other[:4, :4] = True
    found = PictureMasks(
        tmp_path / "frame.png",
        (64, 128),
        np.stack([mask, other]),
        np.array([0.9, 0.2], np.float32),
        np.eye(2, 3, dtype=np.float32),
    )
    (tmp_path / "masks").mkdir()
    write_masks(tmp_path / "masks" / "frame.json", found)
    return tmp_path


def dataset(folder: Path, augment: InstanceAugmentConfig | None, **more: object) -> MaskDataset:
    arguments = {"most": 3, "embedding": 3, **more}
    files = mask_files([folder / "masks"])
    return MaskDataset(files, (64, 96), (64, 128), MEAN, STD, augment=augment, **arguments)  # type: ignore[arg-type]


def test_files_hold_what_was_written(folder: Path) -> None:
    found = read_masks(folder / "masks" / "frame.json")
    assert found.picture == (folder / "frame.png").resolve()
    assert found.masks.sum((1, 2)).tolist() == [30 * 50, 16]
    np.testing.assert_array_equal(found.embeddings, np.eye(2, 3))
    rows = coco_results(found, 7, (128, 256), most=1)
    assert [(row["image_id"], row["category_id"], row["score"]) for row in rows] == [(7, 1, pytest.approx(0.9))]
    assert decode_segmentation(rows[0]["segmentation"], (128, 256), "mask").sum() == 4 * 30 * 50


def test_picture_and_masks_move_together(folder: Path) -> None:
    strong = InstanceAugmentConfig(
        scale=(0.6, 1.6), brightness=0, gamma=0, contrast=0, saturation=0, tint=0, blur=0, noise=0, shadows=0
    )  # type: ignore[call-arg]
    samples = dataset(folder, strong)
    for draw in range(12):
        sample = samples[(0, draw)]
        white = sample["image"][0] * 128 + 127 > 127
        shown = cv2.resize(sample["masks"][0].numpy(), (96, 64), interpolation=cv2.INTER_LINEAR) > 0.5
        assert sample["weights"][0] == pytest.approx(0.9) or not white.any()
        if white.sum() > 200:
            union = (white.numpy() | shown).sum()
            assert (white.numpy() & shown).sum() / union > 0.85
        again = samples[(0, draw)]
        assert all(torch.equal(sample[name], again[name]) for name in sample)


def test_sample_without_augmentation(folder: Path) -> None:
    sample = dataset(folder, None, least_score=0.5)[0]
    assert sample["weights"].tolist() == [pytest.approx(0.9), 0, 0]
    assert sample["embeddings"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert sample["colors"].shape == (3, 16, 24)
    assert float(sample["colors"][0].max()) == pytest.approx(100, abs=0.1)


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="embedding"):
        dataset(folder, None, embedding=4)[0]
    with pytest.raises(DatasetError, match="found none"):
        mask_files([tmp_path / "nowhere"])
    (folder / "masks" / "broken.json").write_text('{"height": 3}')
    with pytest.raises(WeakSupervisionError, match="masks as JSON"):
        read_masks(folder / "masks" / "broken.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeakSupervisionError, match="exemplars"):
        load_pool(tmp_path / "empty", MEAN, STD)


def test_pool_as_tensors(tmp_path: Path) -> None:
    picture = np.full((40, 20, 4), 200, np.uint8)
    picture[:, :10, 3] = 0
    picture[:, 10:, 3] = 255
    cv2.imwrite(str(tmp_path / "0000.png"), picture)
    write_image(tmp_path / "sheet.png", picture[..., :3])
    images, masks = load_pool(tmp_path, MEAN, STD, side=64)
    assert images.shape == (1, 3, 64, 64)
    assert masks.shape == (1, 8, 8)
    assert (images[0, :, :, :28] == 0).all()  # gray where the object is not
    assert float(images.max()) == pytest.approx((200 - 127) / 128)
    assert float(masks.sum()) == pytest.approx(16)  # a quarter of the square


def tiny_module(importance: float = 0.0) -> ExemplarModule:
    torch.manual_seed(0)
    config = parse_config(
        {
            "name": "tiny",
            "model": "exemplar-solo",
            "network": {
                "backbone": "resnet18-half",
                "channels": 8,
                "mask_channels": 4,
                "embedding": 3,
                "head_layers": 1,
            },
            "input": {"width": 96, "height": 64},
            "optimizer": {"rate": 3e-3, "warmup_steps": 0},
            "epochs": 1,
            "samples_per_epoch": 20,
            "batch": 2,
            "precision": "fp32",
            "importance": importance,
        },
        "test",
    )
    return ExemplarModule(config)  # type: ignore[arg-type]


def test_a_mask_counts_by_its_score(folder: Path) -> None:
    """Whatever scale scores have; and the weaker of two masks hardly counts where importance is high."""
    sample = {name: value[None] for name, value in dataset(folder, None)[0].items()}
    sample["masks"][0, 1, 1:5, 14:20] = 1
    sample["embeddings"][0, 1, 2] = 1
    batch = sample | {"weights": torch.tensor([[0.9, 0.01, 0.0]])}
    strong = sample | {"weights": torch.tensor([[0.9, 0.0, 0.0]])}
    alike = sample | {"weights": torch.tensor([[0.5, 0.5, 0.0]])}
    for importance, same in ((0.0, alike), (2.0, batch | {"weights": batch["weights"] * 0.001}), (4.0, strong)):
        module = tiny_module(importance)
        maps = module.net(sample["image"])
        found, expected = module.losses(maps, batch), module.losses(maps, same)
        for name in ("max_projection", "average_projection", "pairwise", "semantic"):
            assert float(found[name].detach()) == pytest.approx(float(expected[name].detach()), rel=1e-4), name
    module = tiny_module(0.0)
    maps = module.net(sample["image"])
    alone, both = (float(module.losses(maps, part)["max_projection"].detach()) for part in (strong, batch))
    assert alone != pytest.approx(both, rel=1e-3)


def test_a_step_lowers_every_term(folder: Path) -> None:
    """One picture over and over: masks, category and embedding are learnt."""
    module = tiny_module()
    sample = dataset(folder, None)[0]
    batch = {name: torch.stack([value, value]) for name, value in sample.items()}
    optimizer = torch.optim.AdamW(module.net.parameters(), lr=3e-3)
    module._exemplars = torch.eye(8)
    history = []
    for _ in range(12):
        losses = module.losses(module.net(batch["image"]), batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    assert set(history[0]) >= {"max_projection", "average_projection", "pairwise", "focal", "semantic", "exemplar"}
    for name in ("loss", "max_projection", "focal", "semantic"):
        assert history[-1][name] < history[0][name]
    nothing = batch | {"weights": torch.zeros_like(batch["weights"])}
    losses = module.losses(module.net(nothing["image"]), nothing)
    assert float(losses["max_projection"]) == 0
    losses["loss"].backward()


def test_the_pairwise_loss_reaches_its_weight_early_and_at_once_in_later_rounds() -> None:
    small = load_config("exemplar-solo")
    assert isinstance(small, ExemplarConfig)
    steps = small.epochs * small.samples_per_epoch // small.batch
    assert 0 < pairwise_warmup(small) <= steps // 10
    assert pairwise_warmup(small.model_copy(update={"start": "model.safetensors"})) == 0
    assert pairwise_warmup(small.model_copy(update={"epochs": 10_000})) == 500
