"""Training configurations: YAML files validated by pydantic; what all runs share, and those of lane networks."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from rtseg.lab.training.augment import AugmentConfig
from rtseg.lab.training.supervision import Supervision
from rtseg.settings import Settings

# Of numbers far beyond what anybody means, libraries only say so after minutes, or by running out of memory.
Positive = Annotated[int, Field(gt=0, le=1_000_000_000)]
Channels = Annotated[int, Field(gt=0, le=8192)]
Layers = Annotated[int, Field(gt=0, le=64)]
Samples = Annotated[int, Field(gt=0, le=1_000_000)]
Side = Annotated[int, Field(gt=0, le=8192)]
Run = TypeVar("Run", bound="RunConfig")


class NetworkConfig(Settings):
    """The network of L2C section IV.

    The first `frozen_stages` stages of the backbone (1 ends at stride 4) keep their weights and BatchNorm statistics,
    which spares their backward pass, the dearest one.
    """

    backbone: Literal[
        "resnet18", "resnet18-half", "resnet34", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"
    ]
    channels: Channels = 32
    lanes: Annotated[int, Field(ge=1, le=253)] = 6
    pretrained: bool = False
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 0


class InputConfig(Settings):
    """Input size in pixels, both multiples of 32."""

    width: Annotated[int, Field(gt=0, le=8192, multiple_of=32)]
    height: Annotated[int, Field(gt=0, le=8192, multiple_of=32)]


class LabelConfig(Settings):
    """How lines are drawn: the mask's stride, and widths in input pixels at the bottom and at the horizon."""

    stride: Literal[1, 2, 4] = 1
    near_width: Annotated[float, Field(gt=0)] = 4.0
    far_width: Annotated[float, Field(gt=0)] = 2.5


class LossConfig(Settings):
    """Margin of the hinge (eq 3), pixels drawn from a line, and the weight of the term against split lines."""

    margin: Annotated[float, Field(gt=0)] = 2.0
    samples: Samples = 100
    split: Annotated[float, Field(ge=0)] = 0.0


class DistilConfig(Settings):
    """A trained model to learn from beside the labels, bundled or a folder, and the weight of that loss.

    A teacher of lanes has the configuration's `lanes`, and was exported with its `line_bias`; one of instances is of
    family daffnet and has the configuration's `classes`.
    """

    teacher: Annotated[str, Field(min_length=1)]
    weight: Annotated[float, Field(gt=0)] = 1.0


class LaneSetConfig(Settings):
    """A folder of labelled frames: its share of the real samples, what its labels tell, and which are kept back.

    `folder` is looked for in the folders of data given. `keep_back` names, by patterns of a frame's group or file name
    without suffix (``*`` and ``[0-4]`` as in a shell), the frames that are only looked at; `leave_out` those that are
    neither learned from nor looked at, such as the seconds between the two parts of one drive; `only` the frames that
    belong to the set at all.

    Of a set with a `teacher`, an earlier stage or a model, `folder` holds recordings without labels. The teacher's
    lines become labels where it agrees with itself (:func:`rtseg.lab.weak.teacher.label_lanes`); those it is less sure
    of than `confidence` are taught neither as lines nor as background.
    """

    folder: Annotated[str, Field(min_length=1)]
    share: Annotated[float, Field(ge=0)]
    supervision: Supervision = "lines"
    only: tuple[str, ...] = ("*",)
    keep_back: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    teacher: str = ""
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.8

    @model_validator(mode="after")
    def _taught(self) -> LaneSetConfig:
        if self.teacher and (self.keep_back or self.supervision != "lines"):
            raise ValueError("a set with a teacher has supervision: lines, and keeps nothing back: it has no truth")
        return self

    @property
    def name(self) -> str:
        """Of the set in logs: its folder and, of a part of it, which."""
        return self.folder if self.only == ("*",) else f"{self.folder}-{self.only[0]}"


class RenderedConfig(Settings):
    """Rendered frames by seed range [first, last), (height, width), and the share of samples drawn from them."""

    rendered_seeds: tuple[int, int] = (0, 0)
    rendered_size: tuple[Positive, Positive] = (360, 640)
    rendered_share: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _rendered(self) -> RenderedConfig:
        if self.rendered_share > 0 and self.rendered_seeds[1] <= self.rendered_seeds[0]:
            raise ValueError("rendered_share above 0 needs rendered_seeds: [first, last) that are not empty")
        return self


class DataConfig(RenderedConfig):
    """Rendered roads, and real frames for the rest of the samples.

    Real frames are those of `sets`; without sets all in the folders of data given, fully labelled and one like another.
    """

    sets: tuple[LaneSetConfig, ...] = ()

    @model_validator(mode="after")
    def _shares(self) -> DataConfig:
        if self.sets and self.rendered_share < 1 and not any(part.share for part in self.sets):
            raise ValueError("sets need shares of which one is above 0")
        return self


class OptimizerConfig(Settings):
    """AdamW or SGD with momentum 0.9, and how the rate falls after a linear warm-up.

    `backbone_rate` multiplies the rate of the backbone, for pretrained ones. ``schedule: cosine`` goes from `rate` to
    0; ``step`` falls by `step_factor` every `step_epochs` epochs; ``poly`` stays for `hold_steps` steps after the
    warm-up and then falls to 0 by the power 0.9 (DaffNet, section 4.3).
    """

    name: Literal["adamw", "sgd"] = "adamw"
    rate: Annotated[float, Field(gt=0, le=1e3)] = 1e-3
    backbone_rate: Annotated[float, Field(gt=0, le=1e3)] = 1.0
    weight_decay: Annotated[float, Field(ge=0, le=1e3)] = 0.02
    schedule: Literal["cosine", "step", "poly"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    hold_steps: Annotated[int, Field(ge=0)] = 0
    step_epochs: Positive = 20
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    clip_norm: Annotated[float, Field(gt=0)] = 5.0


class RunConfig(Settings):
    """What every run has, whatever the model.

    `start` names what to go on from: a safetensors file, a bundled model or a model folder. `blend` is how far the
    weights that are kept lie from there to the trained ones (1 = all the way): a run on a few frames of one's own
    learns those roads and unlearns others, and in between much of both is known (WiSE-FT, Wortsman et al. 2022).
    In a file of several `stages` each is a run of its own: `stage` is its name, and it goes on from the stage named by
    `after`, the one before it unless said otherwise, or from `start`; `blend_with` names an earlier stage from whose
    weights `blend` is counted instead.

    `batch` is divided among `processes` (Lightning's DDP), each of `threads` threads (0 = torch's choice).
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    model: str
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    input: InputConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    epochs: Positive
    samples_per_epoch: Positive
    batch: Samples = 16
    precision: Literal["bf16", "fp32"] = "bf16"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998
    start: str = ""
    stage: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]*)?$")] = ""
    after: str = ""
    blend: Annotated[float, Field(gt=0, le=1)] = 1.0
    blend_with: str = ""
    processes: Positive = 1
    workers: Annotated[int, Field(ge=0)] = 1
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    data: RenderedConfig = RenderedConfig()

    def with_rendered(self: Run, most: int) -> Run:
        """The configuration with the first of its rendered frames, so many at most."""
        first, last = self.data.rendered_seeds
        data = self.data.model_copy(update={"rendered_seeds": (first, min(last, first + most))})
        return self.model_copy(update={"data": data})


class TrainingConfig(RunConfig):
    """Everything that, with the data, makes a run of a lane network; read with `load_config`.

    `line_bias` is how far, in nats, the export lowers the background's logit: a line wins where its probability is
    above ``1 / (1 + exp(line_bias))``. Line pixels are few and their position is never sure to the pixel, so that at
    even odds thin or worn lines break up.
    """

    model: Literal["lanes"] = "lanes"
    network: NetworkConfig
    labels: LabelConfig = LabelConfig()
    loss: LossConfig = LossConfig()
    distil: DistilConfig | None = None
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()  # type: ignore[call-arg]
    line_bias: float = 0.0
