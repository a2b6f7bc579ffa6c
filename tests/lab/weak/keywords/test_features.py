"""Semantic features: the center loss of eq 3 and 4, and regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rtseg.lab.weak.keywords.features import FEATURES, CenterLoss, FeatureSettings, cut_regions, train_features
from rtseg.lab.weak.keywords.fitting import FitSettings


def test_center_loss_is_eq_3_and_4() -> None:
    rng = np.random.default_rng(0)
    loss = CenterLoss(3, 5, rate=0.5)
    features = torch.from_numpy(rng.normal(size=(4, 5)).astype(np.float32))
    labels = torch.tensor([0, 2, 0, 2])
    assert float(loss(features, labels)) == 0.0  # no center yet
    expected = np.zeros((3, 5))
    for _ in range(2):
        loss.update(features, labels)
        for label in (0, 2):
            expected[label] += 0.5 * (features[labels == label].mean(0).numpy() - expected[label])
    np.testing.assert_allclose(loss.centers.numpy(), expected, rtol=1e-5)
    cosines = [
        float(f @ expected[label] / np.linalg.norm(f) / np.linalg.norm(expected[label]))
        for f, label in zip(features.numpy(), labels.tolist(), strict=True)
    ]
    assert float(loss(features, labels)) == pytest.approx(1 - np.mean(cosines), rel=1e-5)
    assert float(loss(torch.from_numpy(expected[[0]].astype(np.float32)), labels[:1])) == pytest.approx(0, abs=1e-6)


def test_center_loss_draws_features_together() -> None:
    torch.manual_seed(0)
    features = torch.randn(8, 5, requires_grad=True)
    labels = torch.zeros(8, dtype=torch.long)
    loss = CenterLoss(1, 5)
    loss.update(features.detach(), labels)
    optimizer = torch.optim.SGD([features], lr=1.0)
    before = float(loss(features, labels))
    for _ in range(20):
        optimizer.zero_grad()
        loss(features, labels).backward()
        optimizer.step()
    assert float(loss(features, labels)) < 0.5 * before


def test_regions_stay_inside_the_picture() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
    boxes = np.array([[0, 0, 30, 20], [29, 19, 30, 20], [0, 5, 1, 6], [10, 4, 14, 8]], np.float32)
    regions = cut_regions(image, boxes, 32, 0.5)
    assert regions.shape == (4, 32, 32, 3)
    # Four pixels with half of them on each side: columns 8 to 15, each four times as wide.
    column = regions[3][0, ::4].astype(int)
    assert (np.abs(column - image[2, 8:16].astype(int)) <= 3).all()


@pytest.mark.parametrize(("labels", "epochs"), [([], 2), ([1, 1], 2), ([0, 1], 0)])
def test_nothing_to_learn_leaves_imagenets_features(tmp_path: Path, labels: list[int], epochs: int) -> None:
    regions = np.zeros((len(labels), 32, 32, 3), np.uint8)
    settings = FeatureSettings(side=32, fit=FitSettings(epochs=epochs))
    net, losses = train_features(regions, np.array(labels, np.int64), 2, settings, tmp_path)
    assert losses == []
    assert not net.training


def test_training_tells_classes_apart(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 6)
    regions = rng.integers(0, 60, (12, 32, 32, 3)).astype(np.uint8)
    regions[labels == 1, 8:24, 8:24] += 150
    settings = FeatureSettings(side=32, fit=FitSettings(epochs=3, batch=6, rate=2e-3))
    net, losses = train_features(regions, labels, 2, settings, tmp_path)
    assert losses[-1] < losses[0]
    with torch.inference_mode():
        features, logits = net(torch.zeros(1, 3, 32, 32))
    assert features.shape == (1, FEATURES)
    assert logits.shape == (1, 2)
