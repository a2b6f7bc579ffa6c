"""DaffNet's losses against references of a few lines (equations 2 to 4)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ConfigError
from rtseg.lab.training.configurations import parse_config
from rtseg.lab.training.instances.config import DaffNetLossConfig
from rtseg.lab.training.instances.daffnet_losses import (
    affinity_losses,
    daffnet_losses,
    grouping_losses,
    neighbor_truth,
)
from rtseg.lab.training.instances.labels import at_stride, semantic_loss
from tests.lab.training.instances.instance_truth import random_ids

RUN = {
    "name": "small",
    "model": "daffnet",
    "network": {"backbone": "resnet18-half"},
    "input": {"width": 64, "height": 64},
    "epochs": 1,
    "samples_per_epoch": 1,
}
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, lower, left, upper


def cross_entropy(truth: bool, probability: float) -> float:
    return -math.log(probability if truth else 1.0 - probability)


def reference_affinity(logits: torch.Tensor, ids: torch.Tensor) -> tuple[float, float]:
    """Equation 4, pixel by pixel: sums over four neighbors, means over boundary pixels and over the others."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    batch, height, width = ids.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                if ids[b, y, x] < 0:
                    continue
                cost, boundary = 0.0, False
                for d, (dy, dx) in enumerate(STEPS):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    if inside and ids[b, y + dy, x + dx] >= 0:
                        same = bool(ids[b, y, x] == ids[b, y + dy, x + dx])
                        at = (d, y, x) if d < 2 else (d - 2, y + dy, x + dx)
                        cost += cross_entropy(same, float(torch.sigmoid(logits[b][at])))
                        boundary |= not same
                costs[boundary].append(cost)
    mean = {kind: sum(values) / max(1, len(values)) for kind, values in costs.items()}
    return mean[True], mean[False]


def reference_grouping(embedding: torch.Tensor, ids: torch.Tensor) -> tuple[float, float]:
    """Equation 3 with Phi of equation 2, picture by picture, then the mean over pictures."""
    push, pull = 0.0, 0.0
    for x, labels in zip(embedding, ids, strict=True):
        segments = [x[:, labels == i].T for i in labels.unique().tolist() if i > 0]
        means = [segment.mean(0) for segment in segments]
        phi = lambda a, b: math.exp(-math.log(2.0) * float((a - b) @ (a - b)))  # noqa: E731
        n = len(segments)
        if n > 1:
            pairs = [(a, b) for a in range(n) for b in range(n) if a != b]
            push += sum(cross_entropy(False, phi(means[a], means[b])) for a, b in pairs) / (n * n - n)
        if n:
            pull += (
                sum(
                    sum(cross_entropy(True, phi(mean, pixel)) for pixel in segment) / len(segment)
                    for mean, segment in zip(means, segments, strict=True)
                )
                / n
            )
    return push / len(ids), pull / len(ids)


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_affinity_losses_equal_the_equation(seed: int) -> None:
    ids = random_ids(seed)
    logits = torch.randn(2, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert [float(v) for v in affinity_losses(logits, ids)] == pytest.approx(reference_affinity(logits, ids), rel=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_grouping_losses_equal_the_equations(seed: int) -> None:
    ids = random_ids(seed, most=4)
    embedding = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = [float(v) for v in grouping_losses(embedding, ids)]
    # The push adds 1e-4 to squared distances.
    assert found == pytest.approx(reference_grouping(embedding, ids), rel=2e-2, abs=1e-6)
    far = [float(v) for v in grouping_losses(embedding * 30.0, ids)]
    assert far[1] == pytest.approx(900.0 * found[1], rel=1e-9)


def test_half_an_affinity_is_a_distance_of_one() -> None:
    ids = torch.tensor([[[1, 2]]])
    embedding = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 1, 1, 2)
    push, pull = grouping_losses(embedding, ids)
    assert float(push) == pytest.approx(math.log(2.0), abs=1e-3)
    assert float(pull) == 0.0


def test_gradients_push_apart_and_pull_together() -> None:
    ids = torch.tensor([[[1, 1, 2, 2, 0, -1]]])
    embedding = torch.tensor([0.1, -0.1, 0.3, 0.2, 5.0, 7.0], dtype=torch.float64).view(1, 1, 1, 6).requires_grad_()
    push, pull = grouping_losses(embedding, ids)
    (pushed,) = torch.autograd.grad(push, embedding, retain_graph=True)
    (pulled,) = torch.autograd.grad(pull, embedding)
    assert bool((pushed[..., :2] > 0).all())
    assert bool((pushed[..., 2:4] < 0).all())
    assert pulled.flatten().sign().tolist() == [1, -1, 1, -1, 0, 0]
    assert bool((pushed[..., 4:] == 0).all())


def test_equal_embeddings_have_finite_gradients() -> None:
    embedding = torch.zeros(1, 2, 1, 3, requires_grad=True)
    push, pull = grouping_losses(embedding, torch.tensor([[[1, 2, 2]]]))
    (push + pull).backward()
    assert bool(torch.isfinite(push))
    assert embedding.grad is not None
    assert bool(torch.isfinite(embedding.grad).all())


@given(st.permutations([1, 2, 3]))
def test_ids_have_no_order(order: list[int]) -> None:
    ids = random_ids(4)
    renamed = torch.tensor([0, *order, -1], dtype=torch.int32)[ids.long()]
    maps = torch.randn(2, 2, 6, 7, generator=torch.Generator().manual_seed(1))
    for losses in (affinity_losses, grouping_losses):
        torch.testing.assert_close(losses(maps, ids), losses(maps, renamed))


def test_ignored_pixels_and_pairs_with_them_do_not_count() -> None:
    ids = torch.tensor([[[1, 1, -1, 2]]])
    truth, counted = neighbor_truth(ids)
    assert counted[0, 0, 0].tolist() == [True, False, False, False]
    assert counted[0, 2, 0].tolist() == [False, True, False, False]
    assert truth[0, 0, 0, 0]
    assert not counted[0, 1].any()
    logits = torch.randn(1, 2, 1, 4)
    other = logits.clone()
    other[..., 2:] += 100.0
    torch.testing.assert_close(affinity_losses(logits, ids), affinity_losses(other, ids))


def batch(ids: torch.Tensor) -> dict[str, torch.Tensor]:
    semantic = torch.where(ids > 0, 1, 0).to(torch.uint8)
    semantic[ids < 0] = 255
    return {"instances": ids, "semantic": semantic}


def random_maps(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{kind}_s{s}": torch.randn(1, channels, 64 // s, 96 // s, generator=generator, requires_grad=True)
        for s in (4, 8, 16, 32)
        for kind, channels in (("semantic", 3), ("affinity", 2), ("embedding", 2))
    }


def test_levels_are_weighted_as_in_section_4_3() -> None:
    ids = torch.zeros(1, 64, 96, dtype=torch.int32)
    ids[0, :40, :48], ids[0, 20:, 60:] = 1, 2
    maps, labels = random_maps(0), batch(ids)
    expected = torch.zeros(())
    for stride, weight in ((4, 0.25), (8, 0.5), (16, 1.0), (32, 1.0)):
        small = at_stride(ids, stride)
        boundary, inner = affinity_losses(maps[f"affinity_s{stride}"], small)
        push, pull = grouping_losses(maps[f"embedding_s{stride}"], small)
        semantic = semantic_loss(maps[f"semantic_s{stride}"], at_stride(labels["semantic"], stride))
        expected = expected + 2.0 * semantic + weight * (boundary + inner) + 0.5 * (push + pull)
    found = daffnet_losses(maps, labels, DaffNetLossConfig())
    torch.testing.assert_close(found["loss"], expected)
    found["loss"].backward()
    assert all(value.grad is not None and bool((value.grad != 0).any()) for value in maps.values())


def test_a_level_without_an_embedding_has_the_other_losses() -> None:
    ids = torch.zeros(1, 64, 96, dtype=torch.int32)
    ids[0, :40, :48], ids[0, 20:, 60:] = 1, 2
    maps, labels = random_maps(0), batch(ids)
    whole = daffnet_losses(maps, labels, DaffNetLossConfig())
    push, pull = grouping_losses(maps["embedding_s4"], at_stride(ids, 4))
    less = {name: value for name, value in maps.items() if name != "embedding_s4"}
    found = daffnet_losses(less, labels, DaffNetLossConfig())
    torch.testing.assert_close(found["loss"], whole["loss"] - 0.5 * (push + pull))
    torch.testing.assert_close(3 * found["push"], 4 * whole["push"] - push.detach())
    torch.testing.assert_close(found["inner"], whole["inner"])


@pytest.mark.parametrize("value", [0, -1])
def test_pictures_without_instances_have_finite_losses(value: int) -> None:
    ids = torch.full((1, 64, 96), value, dtype=torch.int32)
    maps = random_maps(1)
    found = daffnet_losses(maps, batch(ids), DaffNetLossConfig())
    found["loss"].backward()
    assert all(bool(torch.isfinite(part)) for part in found.values())
    assert float(found["push"]) == float(found["pull"]) == float(found["boundary"]) == 0.0
    if value == -1:
        assert float(found["loss"].detach()) == 0.0


def test_labels_are_taken_next_to_the_center_of_a_cell() -> None:
    labels = torch.arange(64).view(1, 8, 8)
    assert at_stride(labels, 4).tolist() == [[[18, 22], [50, 54]]]


@given(st.integers(0, 2**31))
def test_semantic_loss_is_the_mean_over_known_pixels(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 5, (2, 3, 5), generator=generator).to(torch.uint8)
    labels[labels == 4] = 255
    probabilities = torch.softmax(logits, 1).permute(0, 2, 3, 1)
    costs = [
        -math.log(float(p[c]))
        for p, c in zip(probabilities.reshape(-1, 4), labels.flatten().tolist(), strict=True)
        if c < 9
    ]
    assert float(semantic_loss(logits, labels)) == pytest.approx(sum(costs) / max(1, len(costs)), rel=1e-9)


def test_class_weights_multiply_the_cost_of_a_classes_pixels() -> None:
    logits = torch.randn(1, 3, 1, 4, dtype=torch.float64)
    labels = torch.tensor([[[0, 1, 2, 255]]], dtype=torch.uint8)
    costs = -torch.log_softmax(logits, 1)[0, [0, 1, 2], 0, [0, 1, 2]]
    found = semantic_loss(logits, labels, (1.0, 3.0, 0.5))
    torch.testing.assert_close(found, (costs * torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)).sum() / 3)
    with pytest.raises(ConfigError, match="class_weights must be 3"):
        parse_config({**RUN, "classes": ["car", "person"], "loss": {"class_weights": [1.0, 2.0]}}, "test")
    assert parse_config({**RUN, "loss": {"class_weights": [1.0] * 9}}, "test").loss.class_weights  # type: ignore[attr-defined]
