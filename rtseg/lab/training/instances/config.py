"""Training configurations of the instance networks, one class a paper."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rtseg.lab.data.instance_folders import HOLDOUT_CITIES
from rtseg.lab.nets.backbones import BackboneName
from rtseg.lab.training.config import (
    Channels,
    DistilConfig,
    InputConfig,
    Layers,
    RenderedConfig,
    RunConfig,
    Samples,
    Side,
)
from rtseg.lab.training.instances.augment import InstanceAugmentConfig
from rtseg.settings import Settings

Weight = Annotated[float, Field(ge=0)]

CITYSCAPES_THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")


class InstanceDataConfig(RenderedConfig):
    """Places (cities) whose frames are never trained on, so that they can be scored; how rare classes are drawn; and
    rendered streets, of which nothing is held out.

    A class c on a share f_c of the real frames makes them come ``sqrt(repeat / f_c)`` times as often, if that is over 1
    (repeat factor sampling, Gupta et al. 2019); 0 draws all frames alike.
    """

    rendered_size: tuple[Side, Side] = (320, 640)
    holdout: tuple[str, ...] = HOLDOUT_CITIES
    repeat: Annotated[float, Field(ge=0, le=1)] = 0.0


class InstanceNetworkConfig(Settings):
    """What the instance networks share.

    `weights` names a file of ImageNet weights for a ResNet with `pretrained`. The first `frozen_stages` stages of the
    backbone (1 ends at stride 4) keep their weights and BatchNorm statistics, which spares their backward pass.
    """

    backbone: BackboneName
    pretrained: bool = False
    weights: str = ""
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 0


class DaffNetNetworkConfig(InstanceNetworkConfig):
    """See `rtseg.lab.nets.daffnet.DaffNet`."""

    pyramid: Literal["narrow", "deconvolution"] = "narrow"
    channels: Channels = 64
    head_channels: Channels = 32
    head_layers: Layers = 1
    embedding: Channels = 16
    finest_embedding: Literal[4, 8] = 4
    coarsest: Literal[8, 16, 32] = 32
    dilation: Layers = 1


class SemanticLossConfig(Settings):
    """How much a pixel of each class counts in the semantic cross-entropy, background first; none are all 1.

    In a short run rare classes are never predicted unless they weigh more than their few pixels.
    """

    class_weights: tuple[Weight, ...] = ()


class DaffNetLossConfig(SemanticLossConfig):
    """Weights of section 4.3; those of the affinity losses from stride 4 to stride 32."""

    semantic: Weight = 2.0
    grouping: Weight = 0.5
    affinity: tuple[Weight, Weight, Weight, Weight] = (0.25, 0.5, 1.0, 1.0)


class GMISNetworkConfig(InstanceNetworkConfig):
    """See `rtseg.lab.nets.gmis.GMIS`."""

    output_stride: Literal[8, 16] = 16
    channels: Channels = 256
    shared: bool = False
    skip: bool = False


class GMISLossConfig(SemanticLossConfig):
    """Weights of the two branches, which the paper trains apart; with 0 for affinities their branch stays as it is."""

    semantic: Weight = 1.0
    affinity: Weight = 1.0


class L2CInstancesNetworkConfig(InstanceNetworkConfig):
    """See `rtseg.lab.nets.l2c_instances.L2CInstances`."""

    channels: Channels = 512
    colors: Annotated[int, Field(ge=2, le=254)] = 8


class L2CInstancesLossConfig(SemanticLossConfig):
    """Weights and sampling of section V-B; `reach` is epsilon in pixels of the input.

    `split`, not in the paper, keeps each instance to one color (:func:`rtseg.lab.training.l2c_losses.split_loss`):
    without it an instance may share two half and half at no cost, of which argmax makes a patchwork. 0.3 serves lanes.
    """

    coloring: Weight = 1.0
    split: Weight = 0.0
    semantic: Weight = 0.1
    center: Weight = 0.01
    margin: Annotated[float, Field(gt=0)] = 2.0
    samples: Samples = 50
    reach: Annotated[float, Field(gt=0)] = 256.0


class InstanceConfig(RunConfig):
    """What the configurations of all instance networks share.

    `input` is the runtime's input, to which whole frames are scaled; samples are crops of `crop`, `input` by default.
    """

    crop: InputConfig | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=254)] = CITYSCAPES_THINGS
    data: InstanceDataConfig = InstanceDataConfig()
    augment: InstanceAugmentConfig = InstanceAugmentConfig()  # type: ignore[call-arg]
    network: InstanceNetworkConfig


def _weigh_every_class(loss: SemanticLossConfig, classes: tuple[str, ...]) -> None:
    if loss.class_weights and len(loss.class_weights) != 1 + len(classes):
        raise ValueError(
            f"loss.class_weights must be {1 + len(classes)}, background's first, got {len(loss.class_weights)}"
        )


class DaffNetConfig(InstanceConfig):
    """A run of DaffNet."""

    model: Literal["daffnet"]
    network: DaffNetNetworkConfig
    loss: DaffNetLossConfig = DaffNetLossConfig()
    distil: DistilConfig | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> DaffNetConfig:
        _weigh_every_class(self.loss, self.classes)
        return self


class GMISConfig(InstanceConfig):
    """A run of GMIS."""

    model: Literal["gmis"]
    network: GMISNetworkConfig
    loss: GMISLossConfig = GMISLossConfig()

    @model_validator(mode="after")
    def _weights_fit(self) -> GMISConfig:
        _weigh_every_class(self.loss, self.classes)
        return self


class L2CInstancesConfig(InstanceConfig):
    """A run of Learning to Cluster for instances."""

    model: Literal["l2c-instances"]
    network: L2CInstancesNetworkConfig
    loss: L2CInstancesLossConfig = L2CInstancesLossConfig()

    @model_validator(mode="after")
    def _weights_fit(self) -> L2CInstancesConfig:
        _weigh_every_class(self.loss, self.classes)
        return self
