"""Training configuration of the exemplar network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rtseg.lab.training.config import Channels, Layers, Positive
from rtseg.lab.training.instances.config import InstanceConfig, InstanceNetworkConfig, Weight
from rtseg.settings import Settings

Similarity = Annotated[float, Field(ge=-1, le=1)]


class ExemplarNetworkConfig(InstanceNetworkConfig):
    """See `rtseg.lab.nets.solo.SoloNetwork`; `embedding` is that of the free masks in the data."""

    channels: Channels = 64
    mask_channels: Channels = 16
    embedding: Channels = 304
    head_layers: Layers = 2


class ExemplarLossConfig(Settings):
    """Weights of eq 8 to 10 and the thresholds of eq 3 to 7, as in section 4.1.

    Attributes:
        exemplar: lambda_eec.
        average: gamma, of the average projection.
        semantic: mu, of the embedding branch.
        alpha: similarity above which an exemplar is a positive.
        beta: below which it is a negative.
        temperature: tau.
        similarity: of colors, from which neighbors should be of one label (BoxInst).
    """

    exemplar: Weight = 1.3
    average: Weight = 0.1
    semantic: Weight = 0.4
    alpha: Similarity = 0.8
    beta: Similarity = 0.3
    temperature: Annotated[float, Field(gt=0)] = 0.02
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.3


class ExemplarConfig(InstanceConfig):
    """A run of the exemplar network on pictures with masks without classes; see `rtseg.lab.training.exemplar.files`.

    Attributes:
        pool: folder of exemplars (`rtseg.lab.weak.exemplar.pool`); without one there is no exemplar loss,
            which is plain FreeSOLO.
        masks: most masks of a picture that are trained on, the best ones.
        least_score: masks below are left out.
        importance: power of a mask's score with which it counts in the losses, against the mean of the batch; 0 for
            all alike, as in the paper.
    """

    model: Literal["exemplar-solo"]
    classes: tuple[str, ...] = ("object",)
    network: ExemplarNetworkConfig
    loss: ExemplarLossConfig = ExemplarLossConfig()
    pool: str = ""
    masks: Positive = 16
    least_score: Annotated[float, Field(ge=0, lt=1)] = 0.0
    importance: Annotated[float, Field(ge=0, le=8)] = 0.0
