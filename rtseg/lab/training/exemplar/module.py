"""The Lightning module of the exemplar network: eq 8 of Exemplar-FreeSOLO over a batch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rtseg.lab.nets.backbones import first_stages
from rtseg.lab.nets.solo import STRIDES, SoloNetwork
from rtseg.lab.training.averaged_module import AveragedModule
from rtseg.lab.training.exemplar.config import ExemplarConfig
from rtseg.lab.training.exemplar.data import load_pool
from rtseg.lab.training.exemplar.losses import (
    average_projection_loss,
    embedding_loss,
    exemplar_loss,
    focal_loss,
    max_projection_loss,
    pairwise_loss,
)
from rtseg.lab.training.exemplar.targets import Assigned, assign_points, masks_of_points

_WARMUP_STEPS, _WARMUP_SHARE = 500, 0.1


def pairwise_warmup(config: ExemplarConfig) -> int:
    """Steps over which the pairwise loss grows to its weight (BoxInst): before there are masks it would empty them.

    At most a tenth of the run, and none where it goes on from a network that has learned masks.
    """
    if config.start:
        return 0
    steps = config.epochs * config.samples_per_epoch // config.batch
    return min(_WARMUP_STEPS, int(_WARMUP_SHARE * steps))


def build_solo_network(config: ExemplarConfig, pretrained: bool | None = None) -> SoloNetwork:
    """Make the network a configuration names; `pretrained` overrides whether ImageNet weights are loaded."""
    settings = config.network.model_dump(exclude={"frozen_stages"})
    if pretrained is not None:
        settings["pretrained"] = pretrained
    return SoloNetwork(**settings)


class ExemplarModule(AveragedModule):
    """A SOLO network that learns from masks without classes and from exemplars.

    Args:
        config: the run's configuration.

    Raises:
        WeakSupervisionError: if the configuration names a pool that holds no exemplar.
    """

    config: ExemplarConfig
    net: SoloNetwork
    average: SoloNetwork

    def __init__(self, config: ExemplarConfig) -> None:
        super().__init__(config, build_solo_network(config), build_solo_network(config, pretrained=False))
        self.keep_frozen(first_stages(self.net.backbone, config.network.frozen_stages))
        self._pool = load_pool(Path(config.pool), self.net.mean, self.net.std) if config.pool else None
        self._exemplars: Tensor | None = None

    def on_train_epoch_start(self) -> None:
        if self._pool is not None:
            self._exemplars = self.embed_exemplars()

    @torch.no_grad()
    def embed_exemplars(self) -> Tensor:
        """Vectors (K, c) of the pool, by the averaged network as it is now."""
        assert self._pool is not None
        images, masks = (part.to(self.device) for part in self._pool)
        rows = []
        for image, mask in zip(images.split(8), masks.split(8), strict=True):
            # Their mask covers the map at stride 16 upsampled by two.
            features = self.average.features(image.contiguous(memory_format=torch.channels_last))
            rows.append(self.average.exemplar(features.float(), mask))
        return torch.cat(rows)

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        maps = self.net(batch["image"].contiguous(memory_format=torch.channels_last))
        losses = self.losses(maps, batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        return losses["loss"]

    def losses(self, maps: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every term of eq 8 to 10 and their weighted sum, ``loss``."""
        with torch.autocast(batch["image"].device.type, enabled=False):
            maps = {name: value.float() for name, value in maps.items()}
            terms = self._mask_and_category(maps, batch)
            if self._exemplars is not None:
                terms |= self._exemplar_term(maps["features"])
        weights = self.config.loss
        total = terms["max_projection"] + terms["focal"] + weights.average * terms["average_projection"]
        warmup = pairwise_warmup(self.config)
        total = total + terms["pairwise"] * (min(1.0, self.global_step / warmup) if warmup else 1.0)
        total = total + weights.semantic * terms["semantic"]
        if "exemplar" in terms:
            total = total + weights.exemplar * terms["exemplar"]
        return {"loss": total, **terms}

    def _mask_and_category(self, maps: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, picked, queries, predicted = [], [], [], []
        focal = batch["image"].new_zeros(())
        assigned = assign_points(batch["masks"], batch["weights"] > 0, STRIDES)
        importance = self._importance(batch["weights"], [points for points, _ in assigned])
        points_with_masks = sum(len(points.picture) for points, _ in assigned)
        for stride, (points, target) in zip(STRIDES, assigned, strict=True):
            mine = importance[points.picture, points.mask]
            weights = torch.ones_like(target)
            weights[points.picture, points.y, points.x] = mine
            focal = focal + focal_loss(maps[f"cate_s{stride}"][:, 0], target, weights=weights)
            if not len(points.picture):
                continue
            logits.append(masks_of_points(maps[f"kernel_s{stride}"], maps["mask_features"], points, stride))
            picked.append(torch.stack([points.picture, points.mask]))
            queries.append(batch["embeddings"][points.picture, points.mask])
            predicted.append(maps[f"embedding_s{stride}"][points.picture, :, points.y, points.x])
        zero = sum((value.sum() * 0.0 for value in maps.values()), focal * 0.0)
        terms = {"focal": focal / max(points_with_masks, 1) + zero}
        for name in ("max_projection", "average_projection", "pairwise", "semantic"):
            terms[name] = zero
        if not logits:
            return terms
        mask_logits, (picture, mask) = torch.cat(logits), torch.cat(picked, 1)
        coarse, colors, counts = batch["masks"][picture, mask], batch["colors"][picture], importance[picture, mask]
        terms["max_projection"] = (counts * max_projection_loss(mask_logits, coarse)).mean()
        terms["average_projection"] = (counts * average_projection_loss(mask_logits, coarse)).mean()
        similarity = self.config.loss.similarity
        terms["pairwise"] = (counts * pairwise_loss(mask_logits, colors, coarse, similarity)).mean()
        query = torch.cat(queries)
        known = query.abs().sum(1) > 0
        if known.any():
            terms["semantic"] = (counts * embedding_loss(torch.cat(predicted), query))[known].mean()
        return terms

    def _importance(self, scores: Tensor, assigned: list[Assigned]) -> Tensor:
        """How much each mask (B, N) counts, 1 in the mean over all points that have one."""
        counts = scores.pow(self.config.importance)
        values = torch.cat([counts[points.picture, points.mask] for points in assigned])
        return counts / values.mean().clamp(min=1e-12) if len(values) else counts

    def _exemplar_term(self, features: Tensor) -> dict[str, Tensor]:
        assert self._exemplars is not None
        settings = self.config.loss
        # What all exemplars have in common says nothing: without it likeness would not spread from alpha to beta.
        common = self._exemplars.mean(0, keepdim=True)
        loss, used = exemplar_loss(
            self.net.exemplar(features) - common,
            self._exemplars - common,
            settings.alpha,
            settings.beta,
            settings.temperature,
            self.draw_generator(),
        )
        share = features.new_tensor(used / len(features))
        return {"exemplar": loss / len(features), "exemplar_share": share}
