"""Which of its frame's keywords an instance shows: a classifier of regions, learned from frames that do not say.

The attention of section 3.1 is trained to tell which frames have a keyword. Given that a frame has several, its
probabilities (eq 2) favour those that many frames have, and rare classes are absorbed by those they stand beside. Here
that bias is taken out, and what is left starts a classifier of the regions' features (section 3.2) that is learned from
partial labels (Jin and Ghahramani, *Learning with Multiple Labels*, 2002): each region is one of its frame's keywords,
and which one is what the classifier, once fitted, thinks itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

_SURE = 1e-6  # probabilities are kept this far from 0 and 1


@dataclass(frozen=True)
class RegionSettings:
    """The classifier of regions.

    Attributes:
        rounds: times it is fitted to what it thought the time before.
        ridge: weight of its squared weights, on features whose spread over all regions has length 1.
        prior: power of the classes' numbers in what it says in the end. 0 takes all classes as equally frequent, 1
            as frequent as they seem to be: more regions are right in all, and fewer of the rare classes.
    """

    rounds: int = 3
    ridge: float = 3e-4
    prior: float = 0.25


def attention_evidence(attention: NDArray[np.floating], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """What the attention has seen, in nats: its log-odds less those of a frame of which nothing is known.

    Args:
        attention: (n, C) in [0, 1], eq 2.
        shares: (C,) shares of the frames that have each keyword.

    Returns:
        (n, C) float64.
    """
    return _log_odds(attention) - _log_odds(shares)


def region_probabilities(
    features: NDArray[np.floating],
    attention: NDArray[np.floating],
    allowed: NDArray[np.bool_],
    shares: NDArray[np.floating],
    settings: RegionSettings | None = None,
) -> NDArray[np.float64]:
    """Probabilities for eq 7 in place of eq 2's: which of the frame's keywords a region shows, if any of them.

    A linear classifier with softmax is fitted to soft labels, at first the attention's evidence among the frame's
    keywords, then its own, each class weighing the same in all. The result is what it says in the end times the
    attention's probability of the likeliest keyword, so that noise stays what the attention believes in least.

    Args:
        features: (n, d), of :mod:`rtseg.lab.weak.keywords.features`.
        attention: (n, C) in [0, 1], eq 2.
        allowed: (n, C) bool, the keywords of the region's frame, at least one.
        shares: (C,) shares of the frames that have each keyword.
        settings: of the classifier.

    Returns:
        (n, C) float64 in [0, 1], 0 for what is not allowed.
    """
    s = settings or RegionSettings()
    inputs = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    inputs = (inputs - inputs.mean(0)) / inputs.std(0, correction=0).clamp_min(1e-6) / inputs.shape[1] ** 0.5
    scores = attention_evidence(attention, shares)
    belief = _among(scores, allowed)
    for _ in range(s.rounds):
        scores = _fit(inputs, belief / np.maximum(belief.sum(0), 1.0), s.ridge)
        belief = _among(scores, allowed)
    frequency = np.maximum(belief.sum(0), 1.0) / len(belief)
    belief = _among(scores + s.prior * np.log(frequency), allowed)
    return belief * np.where(allowed, attention, 0.0).max(1, keepdims=True)


def _fit(inputs: torch.Tensor, labels: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Scores of a linear classifier fitted to weighted soft labels (n, C)."""
    target = torch.from_numpy((labels / labels.sum()).astype(np.float32))
    weight = torch.zeros(target.shape[1], inputs.shape[1], requires_grad=True)
    bias = torch.zeros(target.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = ridge * weight.square().sum() - (target * F.log_softmax(inputs @ weight.T + bias, 1)).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[arg-type]
    with torch.no_grad():
        return np.asarray((inputs @ weight.T + bias).numpy(), np.float64)


def _among(scores: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Softmax over what is allowed."""
    kept = np.where(allowed, scores, -np.inf)
    powers = np.exp(kept - kept.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _log_odds(values: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(np.asarray(values, np.float64), _SURE, 1.0 - _SURE)
    return np.asarray(np.log(p) - np.log1p(-p))
