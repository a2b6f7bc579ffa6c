"""The attention module: eq 1 and 2, and its two ways of training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import WeakSupervisionError
from rtseg.lab.weak.keywords.attention import (
    AttentionNet,
    AttentionSettings,
    attend,
    attention_loss,
    box_probabilities,
    train_attention,
)
from rtseg.lab.weak.keywords.fitting import CHECKPOINT, FitSettings


def test_loss_is_eq_1() -> None:
    rng = np.random.default_rng(0)
    scores, keywords = rng.normal(size=(3, 4, 5, 6)), rng.random((3, 4)) < 0.5
    y = 1 / (1 + np.exp(-scores.mean((2, 3))))
    expected = -np.mean(np.where(keywords, np.log(y), np.log(1 - y)))
    found = attention_loss(torch.from_numpy(scores), torch.from_numpy(keywords))
    assert float(found) == pytest.approx(expected)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_box_probability_is_the_mean_over_the_boxs_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, h, w, scale = (int(v) for v in rng.integers(1, 5, 4))
    maps = rng.random((classes, h, w))
    pixels = maps.repeat(4 * scale, axis=1).repeat(4 * scale, axis=2)
    height, width = pixels.shape[1:]
    x0, y0 = rng.integers(0, [width, height])
    x1, y1 = x0 + 1 + rng.integers(0, width - x0), y0 + 1 + rng.integers(0, height - y0)
    found = box_probabilities(maps, [[x0, y0, x1, y1]], (height, width))
    np.testing.assert_allclose(found[0], pixels[:, y0:y1, x0:x1].mean((1, 2)), atol=1e-9)


def test_boxes_at_and_over_the_border_and_bad_ones() -> None:
    maps = np.array([[[0.25, 0.75]]])
    boxes = [[-5, -5, 3, 40], [90, 0, 130, 10], [99.9999, 0, 140, 10], [120, 5, 140, 10]]
    np.testing.assert_allclose(box_probabilities(maps, boxes, (10, 100))[:, 0], [0.25, 0.75, 0.75, 0.75], atol=1e-6)
    assert box_probabilities(maps, np.zeros((0, 4)), (10, 100)).shape == (0, 1)
    for bad in ([3, 3, 3, 5], [0, 0, np.nan, 4]):
        with pytest.raises(WeakSupervisionError, match="x0 < x1"):
            box_probabilities(maps, [bad], (10, 100))
    with pytest.raises(WeakSupervisionError, match="shape"):
        box_probabilities(maps[0], [[0, 0, 1, 1]], (10, 100))


@pytest.fixture
def frames(tmp_path: Path) -> tuple[list[Path], np.ndarray]:
    """Red on the left half, green on the right half, or both."""
    torch.set_num_threads(1)
    keywords = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 2, np.bool_)
    paths = []
    for i, (red, green) in enumerate(keywords):
        image = np.full((64, 128, 3), 110, np.uint8)
        if red:
            cv2.circle(image, (32, 32), 20, (20, 20, 230), -1)
        if green:
            cv2.rectangle(image, (80, 14), (116, 50), (40, 220, 40), -1)
        paths.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths, keywords


def test_linear_fit_minimizes_the_loss_and_finds_the_places(
    frames: tuple[list[Path], np.ndarray], tmp_path: Path
) -> None:
    paths, keywords = frames
    fit = FitSettings(epochs=1, backbone_rate=0.0)
    net, losses = train_attention(paths, keywords, AttentionSettings((64, 128), fit), tmp_path)
    maps: dict[int, np.ndarray] = {}
    attend(net, paths, (64, 128), lambda index, one: maps.update({index: one}), batch=3)
    assert sorted(maps) == list(range(8))
    assert losses[0] < 0.3
    # What eq 1 says of the net as it runs, upsampling and all, is what was minimized, up to the ridge.
    scores = torch.from_numpy(np.stack([maps[i] for i in range(8)])).clamp(1e-6, 1 - 1e-6).logit()
    assert float(attention_loss(scores, torch.from_numpy(keywords))) <= losses[0] + 1e-3
    left, right = box_probabilities(maps[2], [[12, 12, 52, 52], [80, 14, 116, 50]], (64, 128))
    assert left[0] > right[0]
    assert right[1] > left[1]


@pytest.mark.slow
def test_training_goes_on_where_it_was_interrupted(frames: tuple[list[Path], np.ndarray], tmp_path: Path) -> None:
    paths, keywords = frames
    chosen = AttentionSettings((32, 64), FitSettings(epochs=2, batch=4, rate=1e-3))
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, whole_losses = train_attention(paths, keywords, chosen, tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        assert total == 4
        if done == 3:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_attention(paths, keywords, chosen, tmp_path / "parts", stop)
    assert (tmp_path / "parts" / CHECKPOINT).is_file()
    steps: list[int] = []
    resumed, losses = train_attention(
        paths, keywords, chosen, tmp_path / "parts", lambda done, total: steps.append(done)
    )
    assert steps == [3, 4]
    assert losses == pytest.approx(whole_losses, rel=1e-4)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    assert not list((tmp_path / "parts").iterdir())


def test_maps_have_stride_16() -> None:
    net = AttentionNet(3, pretrained=False).eval()
    assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 4, 6)
