"""Seeded sets of salient instances with known tags: what the tag assignment is tested and measured on.

Images carry keywords, as many and as unevenly spread over the classes as a photo collection's; their instances have a
true class among the keywords, or none (noise). Attention probabilities and semantic features are drawn around the
truth, each with a noise level of its own, so that each can be made the weaker source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SyntheticSettings:
    """How large and how hard a set is.

    Attributes:
        instances: number of salient instances (the paper's VOC set: 18,878).
        classes: number of keywords.
        attention_noise: standard deviation of the attention's logits; class and keyword logits lie 2 apart.
        feature_noise: length of a feature's random part; the class's part has length 1, so their cosine is about
            ``1 / (1 + feature_noise**2)`` within a mode of a class.
        noise_ratio: share of instances that belong to no class.
        modes: appearances of one class (a face, a crowd, ...); features are similar within a mode above all.
        channels: length of the feature vectors.
        seed: everything follows from it.
    """

    instances: int = 18_878
    classes: int = 20
    attention_noise: float = 1.0
    feature_noise: float = 1.5
    noise_ratio: float = 0.05
    modes: int = 8
    channels: int = 64
    seed: int = 0


@dataclass(frozen=True)
class SyntheticInstances:
    """A drawn set; row j of every array is instance j, images in order.

    Attributes:
        images: (n,) int32 image of each instance.
        truth: (n,) int32 true class, -1 for noise.
        allowed: (n, classes) bool, the keywords of the instance's image.
        probabilities: (n, classes) float64 in [0, 1], as of eq 2.
        features: (n, channels) float32.
    """

    images: NDArray[np.int32]
    truth: NDArray[np.int32]
    allowed: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def draw_instances(settings: SyntheticSettings) -> SyntheticInstances:
    """Draw a set of salient instances; the same settings give the same set."""
    s = settings
    rng = np.random.default_rng(s.seed)
    n = s.instances

    # Instances an image: 1 to 5, about 1.8 on average (18,878 in the paper's 10,582 images).
    counts = rng.choice(np.arange(1, 6), size=n, p=[0.50, 0.28, 0.13, 0.06, 0.03])
    images = np.repeat(np.arange(n, dtype=np.int32), counts)[:n]
    count = int(images[-1]) + 1 if n else 0

    # Keywords an image: 1 to 4, about 1.5 on average; frequent classes as in Zipf's law.
    frequency = 1.0 / np.sqrt(np.arange(1, s.classes + 1))
    keywords = rng.choice([1, 2, 3, 4], size=count, p=[0.62, 0.27, 0.09, 0.02])
    # The largest of the perturbed log frequencies are a draw without replacement (Gumbel's trick).
    order = np.argsort(-(np.log(frequency) + rng.gumbel(size=(count, s.classes))), axis=1)
    rank = np.argsort(order, axis=1)
    image_keywords = rank < np.minimum(keywords, s.classes)[:, None]

    allowed = image_keywords[images]
    truth = np.argmax(np.where(allowed, rng.random((n, s.classes)), -1.0), axis=1).astype(np.int32)
    truth[rng.random(n) < s.noise_ratio] = -1

    # Attention sees the right class best, the image's other keywords a little (they are in the picture), others hardly.
    logits = np.where(allowed, -1.0, -3.0)
    real = np.flatnonzero(truth >= 0)
    logits[real, truth[real]] = 1.0
    logits += s.attention_noise * rng.standard_normal(logits.shape)
    probabilities = 1.0 / (1.0 + np.exp(-logits))

    # A feature: its class's direction, its mode's direction and a direction of its own; noise has only the last.
    classes = _unit(rng.standard_normal((s.classes, s.channels)))
    modes = _unit(classes[:, None] + _unit(rng.standard_normal((s.classes, s.modes, s.channels))))
    features = s.feature_noise * _unit(rng.standard_normal((n, s.channels)))
    features[real] += modes[truth[real], rng.integers(0, s.modes, size=len(real))]
    return SyntheticInstances(images, truth, allowed, probabilities, _unit(features).astype(np.float32))
