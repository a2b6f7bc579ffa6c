"""The losses of Learning to Cluster: pairwise KL contrastive loss and background loss (L2C, section III-A)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
UNNUMBERED = 254
"""Id of pixels of a line, of which one is not known: foreground, but in no pair."""


def pairwise_loss(log_probabilities: Tensor, ids: Tensor, margin: float = 2.0, near: Tensor | None = None) -> Tensor:
    """Contrastive loss over all ordered pairs of sampled pixels, self-pairs included (eq 2, 3, 5; 7, 8 with `near`).

    Args:
        log_probabilities: (m, n + 1) log of the softmax outputs at the sampled pixels.
        ids: (m,) instance id of each sampled pixel; only equality matters.
        margin: sigma of the hinge.
        near: (m, m) bool, symmetric, which pairs count; all by default.

    Returns:
        Scalar mean over the pairs that count. In KL(P_i* || P_j) the starred side is a constant, so the gradient flows
        through P_j only; since all ordered pairs are there, each divergence of eq 2 occurs twice.
    """
    constant = log_probabilities.detach()
    probabilities = constant.exp()
    entropy = (probabilities * constant).sum(1, keepdim=True)
    divergence = entropy - probabilities @ log_probabilities.T
    same = ids[:, None] == ids[None, :]
    cost = 2.0 * torch.where(same, divergence, F.relu(margin - divergence))
    return cost.mean() if near is None else (cost * near).sum() / near.sum().clamp(min=1)


def background_loss(log_probabilities: Tensor, ids: Tensor, ignore: int = IGNORE) -> Tensor:
    """Binary cross-entropy of background against the sum of all other outputs, over all pixels (eq 4).

    Args:
        log_probabilities: (B, n + 1, H, W), channel 0 is background.
        ids: (B, H, W) integer ids, 0 = background.
        ignore: id of pixels that are left out of the mean.
    """
    background = log_probabilities[:, 0]
    foreground = torch.logsumexp(log_probabilities[:, 1:], dim=1)
    cost = -torch.where(ids == 0, background, foreground)
    counted = ids != ignore
    return (cost * counted).sum() / counted.sum().clamp(min=1)


def sample_pixels(ids: Tensor, samples: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw the same number of pixels from every instance, uniformly within each (section III-A2).

    Args:
        ids: (H, W) integer ids; 0, 254 and 255 are no instances.
        samples: pixels an instance; drawn with replacement.
        generator: CPU generator of the draws; torch's global one by default.

    Returns:
        Flat pixel indices (m,) and their ids (m,).
    """
    flat = ids.flatten()
    pixels = torch.nonzero((flat != 0) & (flat != IGNORE) & (flat != UNNUMBERED)).squeeze(1)
    drawn = []
    for identity in torch.unique(flat[pixels]).tolist():
        members = pixels[flat[pixels] == identity]
        drawn.append(members[torch.randint(len(members), (samples,), generator=generator).to(members.device)])
    chosen = torch.cat(drawn) if drawn else pixels
    return chosen, flat[chosen]


def split_loss(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    """Mean over instances of the entropy of an instance's mean distribution over the non-background outputs, in nats.

    Not in the paper. Its pairwise loss is content when all pixels of an instance share two outputs half and half, but
    argmax then gives a patchwork of two ids; this term is zero only where each instance has one output to itself.

    Args:
        log_probabilities: (m, n + 1) log of the softmax outputs at the sampled pixels.
        ids: (m,) instance id of each sampled pixel.
    """
    foreground = log_probabilities[:, 1:].softmax(1)
    _, instance = torch.unique(ids.cpu(), return_inverse=True)
    members = F.one_hot(instance).to(foreground)
    mean = (members.T @ foreground) / members.sum(0)[:, None]
    return -(mean * mean.clamp(min=1e-9).log()).sum(1).mean()


def l2c_loss(
    logits: Tensor,
    ids: Tensor,
    samples: int = 100,
    margin: float = 2.0,
    split: float = 0.0,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Full loss of eq 6 for a batch: pairwise plus background, at the labels' resolution.

    Args:
        logits: (B, n + 1, h, w), upsampled bilinearly to the labels' size.
        ids: (B, H, W) integer ids, 0 = background, 254 = a line but not known which, 255 = ignored.
        samples: pixels drawn from each lane line.
        margin: sigma of the hinge.
        split: weight of `split_loss`; 0 is the paper's loss.
        generator: draws the pixels.

    Returns:
        ``loss``, ``pair``, ``background`` and ``split``, scalars. Images without lines add to ``background`` alone.
    """
    logits = logits.float()
    if logits.shape[2:] != ids.shape[1:]:
        logits = F.interpolate(logits, size=ids.shape[1:], mode="bilinear", align_corners=False)
    log_probabilities = F.log_softmax(logits, dim=1)
    background = background_loss(log_probabilities, ids)
    pair, mixed = logits.new_zeros(()), logits.new_zeros(())
    # Pixels are drawn on the host, where a card's labels come in one copy: it would be waited for at every line.
    for per_pixel, labels in zip(log_probabilities.flatten(2), ids.cpu(), strict=True):
        chosen, identities = sample_pixels(labels, samples, generator)
        if len(chosen):
            drawn = per_pixel[:, chosen.to(logits.device)].T
            pair = pair + pairwise_loss(drawn, identities.to(logits.device), margin)
            mixed = mixed + split_loss(drawn, identities)
    pair, mixed = pair / len(ids), mixed / len(ids)
    loss = pair + background + split * mixed
    return {"loss": loss, "pair": pair.detach(), "background": background.detach(), "split": mixed.detach()}
