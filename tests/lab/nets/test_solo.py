"""The SOLO network's maps, and that training makes the masks that decoding does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rtseg.grouping.solo import SoloLevel, SoloSettings, solo_masks
from rtseg.lab.nets.solo import STRIDES, SoloNetwork
from rtseg.lab.training.exemplar.targets import Assigned, assign_points, masks_of_points


@pytest.fixture(scope="module")
def net() -> SoloNetwork:
    torch.manual_seed(0)
    return SoloNetwork(channels=8, mask_channels=3, embedding=5, head_layers=1)


def test_maps_are_those_announced(net: SoloNetwork) -> None:
    image = torch.randn(2, 3, 64, 96)
    net.eval()
    maps = net(image)
    assert set(maps) == {entry.name for entry in net.maps}
    for entry in net.maps:
        assert maps[entry.name].shape == (2, entry.channels, 64 // entry.stride, 96 // entry.stride)
    net.train()
    trained = net(image)
    assert set(trained) - set(maps) == {"features", *(f"embedding_s{s}" for s in STRIDES)}
    assert trained["embedding_s16"].shape == (2, 5, 4, 6)


def test_masks_start_as_discs(net: SoloNetwork) -> None:
    kernels = net.kernel(torch.zeros(1, 8, 8, 8))
    points = Assigned(*(torch.tensor([value]) for value in (0, 0, 4, 4)))
    logits = masks_of_points(kernels, torch.zeros(1, 3, 16, 16), points, 8)
    y, x = np.nonzero(logits[0].detach().numpy() > 0)
    assert np.hypot((y + 0.5) * 4 - 36, (x + 0.5) * 4 - 36).max() <= 16
    assert len(y) * 16 == pytest.approx(np.pi * 16**2, rel=0.1)


def test_training_and_decoding_make_the_same_masks() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 3, 16, 24, generator=generator)
    levels, expected = [], []
    for stride, (y, x) in zip(STRIDES, ((3, 5), (2, 1), (0, 2)), strict=True):
        shape = 64 // stride, 96 // stride
        cate = np.full(shape, -20, np.float32)
        cate[y, x] = 3
        kernel = torch.randn(1, 8, *shape, generator=generator)
        kernel[:, 0] += 2
        levels.append(SoloLevel(cate, kernel[0].numpy(), stride))
        points = Assigned(*(torch.tensor([value]) for value in (0, 0, y, x)))
        expected.append((masks_of_points(kernel, features, points, stride)[0] > 0).numpy())
    found = solo_masks(levels, features[0].numpy(), SoloSettings(keep_threshold=0, sigma=1e-6, min_pixels=1))
    assert sorted(mask.tobytes() for mask in found.masks) == sorted(mask.tobytes() for mask in expected)


def test_points_of_masks_by_size_and_center() -> None:
    masks = torch.zeros(1, 3, 32, 48)
    masks[0, 0, 4:8, 4:8] = 1  # 16 x 16 pixels around (24, 24): the finest level
    masks[0, 1, 0:32, 8:48] = 1  # 128 x 160 around (64, 112): the coarsest, and stride 16's range ends below
    present = torch.tensor([[True, True, True]])
    (fine, fine_target), (middle, _), (coarse, _) = assign_points(masks, present, STRIDES)
    assert fine.mask.unique().tolist() == [0]
    assert (3, 3) in list(zip(fine.y.tolist(), fine.x.tolist(), strict=True))
    assert fine_target.sum() == len(fine.mask)
    assert len(middle.mask) == 0
    assert coarse.mask.unique().tolist() == [1]
    assert set(zip(coarse.y.tolist(), coarse.x.tolist(), strict=True)) <= {(y, x) for y in (1, 2) for x in (2, 3, 4)}
    assert all(len(points.mask) == 0 for points, _ in assign_points(masks, ~present, STRIDES))


def test_a_point_in_two_masks_belongs_to_the_smaller() -> None:
    masks = torch.zeros(1, 2, 16, 16)
    masks[0, 0, 2:14, 2:14] = 1
    masks[0, 1, 6:10, 6:10] = 1
    for order in ((0, 1), (1, 0)):
        (fine, _), *_ = assign_points(masks[:, list(order)], torch.ones(1, 2, dtype=torch.bool), STRIDES)
        at_center = fine.mask[(fine.y == 4) & (fine.x == 4)]
        assert at_center.tolist() == [order.index(1)]


def test_guided_embedding_is_the_mean_over_the_mask(net: SoloNetwork) -> None:
    features = torch.randn(2, 8, 4, 6)
    mask = torch.zeros(2, 8, 12)
    mask[:, 2:5, 3:9] = 1
    up = torch.nn.functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
    expected = net.exemplar.transform(up)[:, :, 2:5, 3:9].mean((2, 3))
    torch.testing.assert_close(net.exemplar(features, mask), expected)
    guide = net.exemplar.guide(features)
    assert guide.shape == (2, 8, 12)
    assert float(guide.detach().max()) == pytest.approx(1)
    assert ((guide == 0) | (guide > 0.5)).all()
