"""The output of L2C's instances is the mask and the dominant class's mask in common (section III-C)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtseg.instances.methods.coloring import METHOD, Coloring, ColoringParameters
from rtseg.instances.upsampling import upsample_labels
from rtseg.runtime.card import ModelCard
from rtseg.runtime.models import bundled_models_folder

CARD = ModelCard.load(bundled_models_folder() / "l2c-instances-lite" / "card.yaml")
COLORS, CLASSES = 9, 9


def head_maps(seed: int, height: int = 12, width: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 3, (1, COLORS, height // 4, width // 4)).astype(np.float32)
    classes = rng.normal(0, 3, (1, CLASSES, height // 2, width // 2)).astype(np.float32)
    return {
        "colors": coarse.repeat(4, 2).repeat(4, 3),
        "semantic": classes.repeat(2, 2).repeat(2, 3),
        "centers": rng.normal(0, 2, (1, 2, height, width)).astype(np.float32),
    }


@given(st.integers(0, 2**31))
def test_only_pixels_of_the_instances_own_class_stay(seed: int) -> None:
    maps = head_maps(seed)
    classes = maps["semantic"][0].argmax(0)
    loose = Coloring(CARD, ColoringParameters(min_area=16, intersect=False))(maps, (48, 64))
    tight = Coloring(CARD, ColoringParameters(min_area=16))(maps, (48, 64))
    kept = tight.grouped.labels
    own = np.concatenate([[-1], tight.grouped.class_ids + 1])[kept]
    assert (classes[kept > 0] == own[kept > 0]).all()
    # Every instance is the part, of its own class, of one that there was before.
    for label in range(1, len(tight.grouped.class_ids) + 1):
        before = np.unique(loose.grouped.labels[kept == label])
        assert len(before) == 1
        whole = loose.grouped.labels == before[0]
        assert ((kept == label) == (whole & (classes == own[kept == label][0]))).all()
    assert METHOD.parameters().intersect, "as in the paper"


@given(st.integers(0, 2**31))
def test_outlines_at_full_size_stay_off_what_was_taken_out(seed: int) -> None:
    maps = head_maps(seed)
    tight = Coloring(CARD, ColoringParameters(min_area=16))(maps, (48, 64))
    labels = tight.grouped.labels
    assert (upsample_labels(labels, tight.guide, labels.shape) == labels).all()
    large = upsample_labels(labels, tight.guide, (48, 64))
    assert (large[2::4, 2::4][labels == 0] == 0).mean() > 0.95 if (labels == 0).any() else True
