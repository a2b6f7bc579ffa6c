"""Which free masks of a recording are objects: the kinds that are found at many scales and stand at one height.

A kind is what a mask looks like: the masks of other pictures whose embeddings are most like its own. Cars and walkers
are cut out well again and again, and in a driving camera's picture they stand on the ground, so near one height; road,
foliage and house fronts make masks anywhere, each time others. What stands at the very same place in many pictures is
the vehicle itself, its bonnet and its star.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.counted import counted
from rtseg.errors import WeakSupervisionError
from rtseg.lab.scores.instances.boxes import paired_overlaps
from rtseg.lab.weak.free_mask_pool import MaskPool
from rtseg.settings import Probability, Settings


class KindSettings(Settings):
    """How kinds are told and valued.

    Attributes:
        pictures: most of the recording that are looked at for the kinds, evenly from all.
        masks: most that are remembered of them, drawn at random.
        alike: share of the remembered masks that are of a mask's kind.
        spread: standard deviation of a kind's heights, as a share of the picture's, that divides its value by e.
        same_place: intersection over union of boxes from which two masks stand at one place.
        still: share of a kind at a mask's own place from which it is part of the vehicle.
    """

    pictures: Annotated[int, Field(gt=0)] = 80
    masks: Annotated[int, Field(gt=0)] = 10000
    alike: Annotated[float, Field(gt=0, le=1)] = 0.02
    spread: Annotated[float, Field(gt=0)] = 0.05
    same_place: Probability = 0.5
    still: Probability = 0.3


@dataclass(frozen=True)
class MaskKinds:
    """Masks of some pictures of a recording, with which others are compared.

    Attributes:
        settings: of the comparison.
        pictures: (n,) int64, which picture each is of.
        boxes: (n, 4) int32 as in `MaskPool`.
        found: (n,) float32 as there.
        embeddings: (n, C) float32 as there.
        height: of the masks.
    """

    settings: KindSettings
    pictures: NDArray[np.int64]
    boxes: NDArray[np.int32]
    found: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    height: int

    @classmethod
    def of(cls, pools: Sequence[MaskPool], settings: KindSettings, seed: int = 0) -> MaskKinds:
        """Remember masks of pictures.

        Raises:
            WeakSupervisionError: there is no mask, or the masks are of several sizes.
        """
        if len({pool.size for pool in pools}) > 1:
            raise WeakSupervisionError("expected free masks of one size, got several; find them with the same settings")
        pictures = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
        if not len(pictures):
            raise WeakSupervisionError(
                f"expected free masks in {counted(len(pools), 'picture')}, got none: nothing stands out"
            )
        drawn = np.random.default_rng(seed).permutation(len(pictures))[: settings.masks]
        drawn.sort()
        boxes, found, embeddings = (
            np.concatenate([getattr(pool, name) for pool in pools])[drawn] for name in ("boxes", "found", "embeddings")
        )
        return cls(settings, pictures[drawn], boxes, found, embeddings, pools[0].size[0])

    def score(self, pool: MaskPool, picture: int = -1) -> NDArray[np.float32]:
        """Say how likely masks are objects.

        Args:
            pool: of a picture.
            picture: its number among those remembered, whose own masks do not count; -1 where it is none of them.

        Returns:
            (n,) float32 in [0, 1], small ones: how often the mask itself was found, times the square of how often its
            kind was, less where the kind spreads; 0 for parts of the vehicle. Where no other picture is remembered,
            how often it was found.
        """
        s = self.settings
        others = np.flatnonzero(self.pictures != picture)
        if not len(others) or not len(pool):
            return pool.found.copy()
        count = max(round(s.alike * len(others)), 1)
        likeness = pool.embeddings @ self.embeddings[others].T
        kind = others[np.argpartition(-likeness, count - 1, axis=1)[:, :count]]
        middles = (self.boxes[:, 0] + self.boxes[:, 2]) / (2 * self.height)
        value = self.found[kind].mean(1) ** 2 * np.exp(-middles[kind].std(1) / s.spread)
        scores = pool.found * value
        still = (paired_overlaps(pool.boxes[:, None], self.boxes[kind]) >= s.same_place).mean(1)
        return np.where(still >= s.still, 0.0, scores).astype(np.float32)
