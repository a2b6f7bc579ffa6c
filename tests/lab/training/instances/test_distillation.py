"""Distillation of DaffNet: affinities on another grid and the losses against references of a few lines, and a run."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ModelError
from rtseg.lab.nets.daffnet import of_pairs
from rtseg.lab.training.config import DistilConfig
from rtseg.lab.training.instances.config import CITYSCAPES_THINGS, DaffNetConfig, DaffNetLossConfig
from rtseg.lab.training.instances.datasets import InstanceDataset, InstanceShape, instance_frames
from rtseg.lab.training.instances.distillation import InstanceTeacher, belonging, distillation_losses
from rtseg.lab.training.train import load_network, train
from rtseg.loading import load
from tests.lab.training.instances.street_folder import write_streets
from tests.lab.training.instances.test_runs import SMALL

IMAGENET = ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
WEIGHTS = DaffNetLossConfig(semantic=2.0, affinity=(0.25, 0.5, 1.0, 1.0))


def affinities(seed: int, height: int, width: int) -> torch.Tensor:
    logits = 3.0 * torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(seed))
    return of_pairs(logits).sigmoid()


@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 7))
def test_on_the_same_grid_affinities_stay_what_they_are(seed: int, height: int, width: int) -> None:
    affinity = affinities(seed, height, width)
    kept = belonging(affinity, (height, width))
    right, lower = affinity[:, 0].clamp(min=1e-3), affinity[:, 1].clamp(min=1e-3)
    torch.testing.assert_close(kept[:, 0, :, :-1], right[:, :, :-1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(kept[:, 1, :-1], lower[:, :-1], rtol=1e-3, atol=1e-5)
    assert torch.all(kept[:, 0, :, -1] == 1)
    assert torch.all(kept[:, 1, -1] == 1)


@given(st.integers(1, 30), st.integers(8, 40), st.integers(2, 40))
def test_one_boundary_parts_one_pair_of_neighbors_on_any_grid(edge: int, columns: int, wanted: int) -> None:
    affinity = torch.ones(1, 4, 3, columns)
    edge = min(edge, columns - 2)
    affinity[:, 0, :, edge] = 1e-3
    kept = belonging(affinity, (3, wanted))[0, 0, 0]
    # However the other grid lies, all of the boundary is crossed on the way from the first center to the last.
    centers = np.clip((np.arange(wanted) + 0.5) * columns / wanted - 0.5, 0, columns - 1)
    crossed = np.diff(np.clip(centers - edge, 0, 1))
    np.testing.assert_allclose(kept[:-1], 1e-3**crossed, rtol=1e-3, atol=1e-6)


def reference(
    student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], semantic: np.ndarray, ids: np.ndarray
) -> float:
    """Pixel by pixel, in probabilities, of a teacher on the student's grid."""
    total = 0.0
    for stride, affinity_weight in ((4, 0.25), (8, 0.5)):
        labels, instances = (values[stride // 2 :: stride, stride // 2 :: stride] for values in (semantic, ids))
        q = student[f"semantic_s{stride}"][0].softmax(0).numpy().astype(float)
        p = teacher[f"semantic_s{stride}"][0].softmax(0).numpy().astype(float)
        costs, counts = [0.0, 0.0], [0.0, 0.0]
        for y, x in np.ndindex(labels.shape):
            if labels[y, x] in (255, p[:, y, x].argmax()):
                weight = 0.1 + p[1:, y, x].sum()
                costs[0] += weight * (p[:, y, x] * np.log(p[:, y, x] / q[:, y, x])).sum()
                counts[0] += weight
        taught = belonging(teacher[f"affinity_s{stride}"], labels.shape)[0].numpy().astype(float)
        found = student[f"affinity_s{stride}"][0].sigmoid().numpy().astype(float)
        for k, (dy, dx) in enumerate(((0, 1), (1, 0))):
            for y, x in np.ndindex(labels.shape):
                inside = y + dy < labels.shape[0] and x + dx < labels.shape[1]
                one, other = instances[y, x], instances[y + dy, x + dx] if inside else -1
                t, s = min(taught[k, y, x], 1 - 1e-12), found[k, y, x]
                if -1 in (one, other) or (t > 0.5) == (one == other):
                    weight = 1.1 - t
                    costs[1] += weight * (t * np.log(t / s) + (1 - t) * np.log((1 - t) / (1 - s)))
                    counts[1] += weight
        total += 2.0 * costs[0] / max(counts[0], 1.0) + affinity_weight * costs[1] / max(counts[1], 1.0)
    return total


@given(st.integers(0, 2**31))
def test_the_losses_are_the_divergences_one_by_one_where_the_teacher_is_right(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def maps(scale: float) -> dict[str, torch.Tensor]:
        made = {}
        for stride, (h, w) in ((4, (4, 6)), (8, (2, 3))):
            made[f"semantic_s{stride}"] = scale * torch.randn(1, 3, h, w, generator=generator)
            made[f"affinity_s{stride}"] = of_pairs(scale * torch.randn(1, 4, h, w, generator=generator))
        return made

    student, taught = maps(1.0), maps(2.0)
    for stride in (4, 8):
        taught[f"affinity_s{stride}"] = taught[f"affinity_s{stride}"].sigmoid()
    rng = np.random.default_rng(seed)
    semantic = rng.choice(np.array([0, 1, 2, 255], np.uint8), (16, 24))
    ids = rng.choice(np.array([-1, 0, 1, 2], np.int32), (16, 24))
    batch = {"semantic": torch.from_numpy(semantic)[None], "instances": torch.from_numpy(ids)[None]}
    found = distillation_losses(student, taught, batch, WEIGHTS)
    assert float(found) == pytest.approx(reference(student, taught, semantic, ids), rel=1e-3, abs=1e-5)


def test_the_teacher_says_what_its_pipeline_says_of_the_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    image = (torch.from_numpy(picture[:, :, ::-1].transpose(2, 0, 1).copy()).float() - mean) / std
    expected, _ = load("instances-lite", threads=1).head_maps(picture)
    taught = InstanceTeacher("instances-lite", CITYSCAPES_THINGS, *IMAGENET, threads=1)(image[None])
    assert "semantic_s4" in taught
    assert "affinity_s8" in taught
    assert not any("embedding" in name for name in taught)
    for name, value in taught.items():
        np.testing.assert_array_equal(value.numpy(), expected[name])


def test_a_teacher_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"family daffnet.*gmis-lite is of family gmis"):
        InstanceTeacher("gmis-lite", CITYSCAPES_THINGS, *IMAGENET, threads=1)
    with pytest.raises(ModelError, match="classes car as teacher"):
        InstanceTeacher("instances-lite", ("car",), *IMAGENET, threads=1)


@pytest.mark.slow
def test_a_student_comes_closer_to_its_teacher(tmp_path: Path) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    streets = write_streets(tmp_path / "streets")
    network = {"backbone": "resnet18-half", "channels": 8, "head_channels": 8, "embedding": 4, "coarsest": 8}
    alone = DaffNetConfig.model_validate(
        {**SMALL, "name": "small", "model": "daffnet", "network": network, "epochs": 6, "samples_per_epoch": 8}
    )
    taught = alone.model_copy(update={"distil": DistilConfig(teacher="instances-lite", weight=5.0)})
    divergences = []
    for name, config in (("alone", alone), ("taught", taught)):
        net, loaded = load_network(train(config, [streets], tmp_path / name))
        assert loaded == config
        frames = InstanceDataset(instance_frames([streets]), InstanceShape((64, 128), net.mean, net.std))
        batch = torch.utils.data.default_collate([frames[i] for i in range(len(frames))])
        teacher = InstanceTeacher("instances-lite", config.classes, net.mean, net.std, threads=1)
        with torch.no_grad():
            divergences.append(
                float(distillation_losses(net(batch["image"]), teacher(batch["image"]), batch, config.loss))
            )
    assert divergences[1] < 0.9 * divergences[0]
