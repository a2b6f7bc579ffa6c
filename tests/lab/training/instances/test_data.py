"""Samples with instance labels: picture and labels stay together, and the same key gives the same sample."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from rtseg.errors import DatasetError
from rtseg.lab.data.instance_labels import InstanceFrame, InstanceTruth
from rtseg.lab.render.street.folder import write_streets
from rtseg.lab.render.street.street import render_street
from rtseg.lab.training.instances.augment import InstanceAugmentConfig, augment_instances, cut_window, sample_window
from rtseg.lab.training.instances.datasets import (
    InstanceDataset,
    InstanceShape,
    instance_frames,
    number_instances,
    rendered_streets,
)
from rtseg.lab.training.lanes.datasets import MixtureSampler

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
PLAIN = InstanceAugmentConfig(
    brightness=0, gamma=0, contrast=0, saturation=0, tint=0, blur=0, noise=0, shadows=0, scale=(0.7, 1.3)
)


@dataclass(frozen=True)
class Painted(InstanceFrame):
    """Boxes whose color tells their number; the last one is a group, the rest of the picture is dark."""

    seed: int
    size: tuple[int, int] = (96, 160)
    name: str = "painted"
    place: str = ""
    classes: tuple[str, ...] = ("car", "person")

    def truth(self) -> InstanceTruth:
        rng = np.random.default_rng(self.seed)
        instances = np.zeros(self.size, np.int32)
        for number in range(1, 6):
            y, x = rng.integers(0, self.size[0] - 24), rng.integers(0, self.size[1] - 24)
            instances[y : y + 24, x : x + 24] = number if number < 5 else -1
        present = [number for number in range(1, 5) if (instances == number).any()]
        numbered = np.where(instances < 0, -1, 0).astype(np.int32)
        for new, number in enumerate(present, 1):
            numbered[instances == number] = new
        class_ids = np.arange(len(present), dtype=np.int32) % 2
        semantic = np.concatenate([[0], class_ids + 1])[np.maximum(numbered, 0)]
        semantic[numbered < 0] = 1
        return InstanceTruth(numbered, semantic.astype(np.uint8), class_ids)

    def image(self) -> np.ndarray:
        instances = self.truth().instances
        shade = np.where(instances < 0, 250, instances * 50).astype(np.uint8)
        return np.stack([shade, shade, shade], axis=2)


SHAPE = InstanceShape((64, 96), MEAN, STD, view=(64, 107))


def _shade(image: torch.Tensor) -> np.ndarray:
    planes = image.numpy() * np.array(STD, np.float32)[:, None, None] + np.array(MEAN, np.float32)[:, None, None]
    return np.rint(planes[0])


def test_a_sample_is_what_the_losses_take() -> None:
    sample = InstanceDataset([Painted(0)], SHAPE, InstanceAugmentConfig())[(0, 3)]
    assert {key: (value.dtype, tuple(value.shape)) for key, value in sample.items()} == {
        "image": (torch.float32, (3, 64, 96)),
        "semantic": (torch.uint8, (64, 96)),
        "instances": (torch.int32, (64, 96)),
    }
    with pytest.raises(DatasetError, match="at least one"):
        InstanceDataset([], SHAPE)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_labels_follow_the_picture(seed: int) -> None:
    """The color under a label tells the same number, away from edges, after any window and mirroring."""
    frame = Painted(seed)
    truth, rng = frame.truth(), np.random.default_rng(seed)
    image, (instances, semantic) = augment_instances(
        frame.image(), (truth.instances, truth.semantic), (64, 107), (64, 96), PLAIN, rng, (30.0, 30.0, 30.0)
    )
    assert image.shape == (64, 96, 3)
    # A group and what lies outside of the picture have one number, and are told apart by their class.
    both = np.dstack([instances.astype(np.int16), semantic.astype(np.int16)])
    flat = (cv2.morphologyEx(both, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) == 0).all(axis=2)
    flat[[0, -1]] = flat[:, [0, -1]] = False  # whose neighbors outside of the sample are in their color, too
    shade = image[:, :, 0].astype(int)
    for number in range(1, len(truth) + 1):
        inside = flat & (instances == number)
        assert np.abs(shade[inside] - 50 * number).max(initial=0) <= 1
        assert (semantic[instances == number] == 1 + truth.class_ids[number - 1]).all()
    assert (shade[flat & (instances == 0)] <= 1).all()
    group, outside = (instances < 0) & (semantic == 1), (instances < 0) & (semantic == 255)
    assert np.array_equal(group | outside, instances < 0)
    assert np.isin(shade[flat & group], (250, 249)).all()
    border = cv2.erode(outside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    assert (shade[border] == 30).all()


@given(
    frame=st.tuples(st.integers(2, 300), st.integers(2, 300)),
    view=st.tuples(st.integers(2, 200), st.integers(2, 200)),
    size=st.tuples(st.integers(2, 200), st.integers(2, 200)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_windows_of_any_sizes(frame: tuple[int, int], view: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    window = sample_window(frame, view, size, PLAIN, np.random.default_rng(seed))
    for axis in range(2):
        start, extent = window[axis], window[2 + axis]
        scale = size[axis] * frame[axis] / (extent * view[axis])
        assert 0.699 < scale < 1.301
        # Either the window lies in the frame or the frame in the window.
        assert (start >= 0 and start + extent <= frame[axis] + 1e-6) or (
            start <= 0 and start + extent >= frame[axis] - 1e-6
        )
    maps = (np.ones(frame, np.int32), np.ones(frame, np.uint8))
    image, (instances, semantic) = cut_window(np.zeros((*frame, 3), np.uint8), maps, window, size, (7.0, 7.0, 7.0))
    assert image.shape[:2] == instances.shape == semantic.shape == size
    assert np.array_equal(instances == 1, image[:, :, 0] == 0)
    assert np.array_equal(instances == -1, semantic == 255)


def test_without_augmentation_it_is_the_whole_frame() -> None:
    frame = Painted(3, size=(64, 96))
    sample = InstanceDataset([frame], SHAPE)[0]
    assert np.array_equal(sample["instances"].numpy(), frame.truth().instances)
    assert np.array_equal(sample["semantic"].numpy(), frame.truth().semantic)
    assert np.array_equal(_shade(sample["image"]), frame.image()[:, :, 2])


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_instances_are_numbered_afresh(seed: int) -> None:
    instances = np.random.default_rng(seed).integers(-1, 40, (4, 7)).astype(np.int32)
    numbered = number_instances(instances)
    present = sorted(set(instances.ravel().tolist()) - {-1, 0})
    for before, after in zip(instances.ravel().tolist(), numbered.ravel().tolist(), strict=True):
        assert after == (before if before <= 0 else 1 + present.index(before))


def test_samples_depend_on_their_key_alone() -> None:
    frames = [Painted(seed) for seed in range(4)]
    keys = list(MixtureSampler([4], [1.0], 8, seed=5))
    config = InstanceAugmentConfig()
    once = [InstanceDataset(frames, SHAPE, config, seed=9)[key] for key in keys]
    loader = DataLoader(InstanceDataset(frames, SHAPE, config, seed=9), batch_size=2, sampler=keys, num_workers=1)
    batches = list(loader)
    for name in ("image", "semantic", "instances"):
        assert torch.equal(torch.cat([batch[name] for batch in batches]), torch.stack([item[name] for item in once]))
    other = InstanceDataset(frames, SHAPE, config, seed=9)[(keys[0][0], keys[0][1] + 1)]
    assert not torch.equal(other["image"], once[0]["image"])


def test_labels_of_another_size_are_refused() -> None:
    @dataclass(frozen=True)
    class Wrong(Painted):
        def image(self) -> np.ndarray:
            return np.zeros((50, 50, 3), np.uint8)

    with pytest.raises(DatasetError, match="size"):
        InstanceDataset([Wrong(0)], SHAPE)[0]


def test_rendered_streets_are_those_of_the_seeds_and_kept(tmp_path: Path) -> None:
    size, seeds = (64, 128), range(38, 42)
    write_streets(tmp_path / "streets-128x64", range(38, 43), size, workers=1)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    frames = rendered_streets(tmp_path, seeds, size)
    assert [frame.name.split("_")[1] for frame in frames] == ["000038", "000039", "000040", "000041"]
    for seed, frame in zip(seeds, frames, strict=True):
        assert np.array_equal(frame.truth().semantic, render_street(seed, size).semantic)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written


def test_where_there_is_no_time_the_first_streets_have_to_do(tmp_path: Path) -> None:
    write_streets(tmp_path / "streets-128x64", range(38, 500), (64, 128), workers=1, until=time.monotonic())
    frames = rendered_streets(tmp_path, range(38, 39), (64, 128))
    assert [frame.name for frame in frames] == ["street8_000038_000000"]
    assert len(list(tmp_path.rglob("*.png"))) == 1


def test_real_streets(driving_data: Path) -> None:
    folder = driving_data / "instances" / "cityscapes640"
    train, held = instance_frames([folder], "train"), instance_frames([folder], "holdout")
    assert not {frame.place for frame in train} & {frame.place for frame in held}
    shape = InstanceShape((160, 320), MEAN, STD)
    sample = InstanceDataset(train[:5], shape, InstanceAugmentConfig())[(4, 7)]
    instances, semantic = sample["instances"], sample["semantic"]
    assert torch.equal(torch.unique(instances[instances > 0]), torch.arange(1, int(instances.max()) + 1))
    for number in range(1, int(instances.max()) + 1):
        assert len(torch.unique(semantic[instances == number])) == 1
    assert ((semantic > 0) == (instances != 0)).all()
