"""Model cards: what a model is, what it expects, what it scored, and the hash of its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from rtseg.errors import ModelError
from rtseg.files import is_there, write_text
from rtseg.runtime.older_cards import with_kinds
from rtseg.runtime.onnx_file import refuse_external_data
from rtseg.settings import Settings, first_fault
from rtseg.yaml_text import read_yaml

Task = Literal["lanes", "instances"]
Precision = Literal["fp32", "fp16", "int8"]
Positive = Annotated[int, Field(gt=0)]
Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
Deviation = Annotated[float, Field(ge=1e-6, le=1e6)]  # beyond these nothing of a pixel is left in float32
NAME = "[a-z0-9][a-z0-9-]{0,99}"
"""What a model may be called, as a pattern."""

Method = TypeVar("Method")
Parameters = TypeVar("Parameters", bound=Settings)


class ModelFile(Settings):
    """A network file beside the card.

    One calibration gives two int8 files, one a form that CPUs are fast on and one that TensorRT parses, so a file names
    the backends it is for; none named means any.
    """

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    precision: Precision
    backends: tuple[str, ...] = ()

    def is_for(self, backend: str) -> bool:
        """Whether a backend may run it."""
        return not self.backends or backend in self.backends

    @model_validator(mode="after")
    def _stays_beside_the_card(self) -> ModelFile:
        if Path(self.file).name != self.file:
            raise ValueError(f"file must be a plain file name beside the card, not {self.file!r}")
        return self


class ModelInput(Settings):
    """The one input tensor: (1, 3, height, width) float32, ``(pixel - mean) / std`` with pixels in 0..255.

    `fit` says how frames of another shape are brought to it: stretched, or into a letterbox of gray borders that keeps
    their shape (:mod:`rtseg.runtime.fitting`). `top` is the share of a frame's rows, from the top, that the network
    does not see: for those that look at the road alone.
    """

    name: str = "image"
    width: Positive
    height: Positive
    order: Literal["rgb", "bgr"]
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    fit: Literal["stretch", "letterbox"] = "stretch"
    top: Annotated[float, Field(ge=0, le=0.9)] = 0.0


class ModelOutput(Settings):
    """One output tensor: (1, channels, height / stride, width / stride), or any `shape` that begins with 1.

    `kind` says what its channels mean, and so what reads it: ``semantic`` (logits of background and classes),
    ``affinity`` (probabilities), ``embedding``, ``colors`` (logits), ``centers`` (offsets in pixels of the input), and
    SOLO's ``category``, ``kernel`` and ``mask_features``. A grouping method may define others.
    """

    name: str
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    channels: Positive = 1
    stride: Positive = 1
    shape: tuple[Positive, ...] | None = None

    def sides(self, needs: ModelInput) -> tuple[int, ...]:
        """All sides of the tensor, for a network of that input."""
        if self.shape is not None:
            return self.shape
        return 1, self.channels, needs.height // self.stride, needs.width // self.stride

    @model_validator(mode="after")
    def _is_a_map_or_has_a_shape(self) -> ModelOutput:
        given = self.model_fields_set & {"channels", "stride"}
        if self.shape is None and len(given) < 2:
            raise ValueError(f"{self.name} must have channels and stride, or a shape")
        if self.shape is not None and (given or len(self.shape) < 2 or self.shape[0] != 1):
            raise ValueError(f"{self.name} must have channels and stride, or a shape of at least two sides, first 1")
        return self

    @model_serializer(mode="wrap")
    def _write_what_was_given(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        left_out = ("shape",) if self.shape is None else ("channels", "stride")
        return {name: value for name, value in write(self).items() if name not in left_out}


class DeviceGrouping(Settings):
    """A grouping method and its parameters."""

    method: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class Grouping(DeviceGrouping):
    """How raw maps become lanes or instances, with the method's parameters.

    `device` is what takes its place where frames run on a card and another method suits that better; the CPU keeps
    this one, also when a card fails.
    """

    device: DeviceGrouping | None = None


class Training(Settings):
    """Where the weights come from."""

    command: str
    data: tuple[str, ...]
    seed: int
    notes: str = ""


class Score(Settings):
    """One measured figure and the command that measures it again.

    `file` says which network was measured where there are several of that precision; by default the first of them.
    """

    dataset: str
    metric: str
    value: float
    precision: Precision
    command: str
    file: str | None = None


class ModelCard(Settings):
    """Everything the runtime and a user need to know of a model; stored as ``card.yaml``.

    `family` names the paper that the network follows; `max_int8_loss` is how much of the first scored metric int8 may
    cost, in points (hundredths of a share).
    """

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    family: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=100)]
    task: Task
    summary: str
    licence: str
    model: ModelFile
    alternatives: tuple[ModelFile, ...] = ()
    input: ModelInput
    outputs: tuple[ModelOutput, ...]
    grouping: Grouping
    classes: tuple[str, ...]
    training: Training
    scores: tuple[Score, ...] = ()
    max_int8_loss: Annotated[float, Field(ge=0)] = 0.5

    @model_validator(mode="before")
    @classmethod
    def _read_older_cards(cls, content: Any) -> Any:
        return with_kinds(content)

    @model_validator(mode="after")
    def _outputs_are_named_once(self) -> ModelCard:
        names = [output.name for output in self.outputs]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"outputs must be at least one and named once each, got {names}")
        return self

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read and validate a card.

        Args:
            path: of the YAML file.

        Raises:
            ModelError: if the file is missing, is no YAML, or a field is wrong; the message names the field.
        """
        try:
            content = read_yaml(path)
        except (OSError, yaml.YAMLError) as error:
            trained = isinstance(error, FileNotFoundError) and (path.parent / "model.safetensors").is_file()
            mend = f"; it is a training run: rtseg export {path.parent} --out my-model" if trained else ""
            raise ModelError(f"expected a model card at {path}: {error}{mend}") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ModelError(f"the model card {path} does not validate: {first_fault(error)}") from error

    def on_device(self) -> ModelCard:
        """The card as a device groups: with ``grouping.device`` for its grouping, where it has one."""
        chosen = self.grouping.device
        if chosen is None:
            return self
        return self.model_copy(update={"grouping": Grouping(method=chosen.method, parameters=chosen.parameters)})

    def method_of(self, methods: Mapping[str, Method]) -> Method:
        """Find the method that the card asks for.

        Args:
            methods: by name.

        Raises:
            ModelError: if there is no such method.
        """
        if self.grouping.method not in methods:
            raise ModelError(
                f"the card of {self.name} asks for grouping {self.grouping.method!r}, expected {', '.join(methods)}"
            )
        return methods[self.grouping.method]

    def parameters_as(self, kind: type[Parameters]) -> Parameters:
        """Validate ``grouping.parameters`` as those of a method.

        Args:
            kind: what the method takes.

        Raises:
            ModelError: naming the first field that is unknown or out of its range.
        """
        try:
            return kind.model_validate(self.grouping.parameters)
        except ValidationError as error:
            fault = first_fault(error, "grouping", "parameters")
            raise ModelError(f"the card of {self.name} does not fit: {fault}") from error

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Every network file, the preferred one first."""
        return (self.model, *self.alternatives)

    def metric_change(self, precision: Precision, file: str | None = None) -> float | None:
        """How the first scored metric changes from fp32 to the network `file` of `precision`.

        Args:
            precision: of the network.
            file: which network of that precision; the first by default.

        Returns:
            The change as a share; None where one of the two was not measured.
        """
        first: dict[str, str] = {}
        for entry in self.files:
            first.setdefault(entry.precision, entry.file)
        file = file or first.get(precision)
        values = {(score.dataset, score.metric, score.precision): score.value for score in reversed(self.scores)}
        for score in self.scores:
            reference = values.get((score.dataset, score.metric, "fp32"))
            if score.precision == precision and (score.file or first.get(precision)) == file and reference is not None:
                return score.value - reference
        return None

    def dump(self, path: Path) -> None:
        """Write the card as YAML.

        Args:
            path: file to write.

        Raises:
            MediaError: it cannot be written.
        """
        content = self.model_dump(mode="json", exclude_defaults=False)
        write_text(path, yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True))


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def verified_model_file(folder: Path, entry: ModelFile) -> Path:
    """Path of a card's network file, after checking its hash.

    Raises:
        ModelError: if the file is missing, is not the one the card was written for, or keeps weights in another.
    """
    path = folder / entry.file
    if not is_there(path):
        raise ModelError(f"the card in {folder} names {entry.file}, which is not there; restore it or train it again")
    found = sha256_of(path)
    if found != entry.sha256:
        raise ModelError(
            f"{path} does not match its card: expected sha256 {entry.sha256[:12]}..., found {found[:12]}...; "
            "restore the file, or export the model again so that the card fits"
        )
    refuse_external_data(path)
    return path
