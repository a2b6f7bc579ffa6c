"""An int8 calibration as a file: what was drawn, how ranges were chosen, what it gave; enough to do it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from rtseg.errors import ModelError
from rtseg.files import write_text
from rtseg.settings import Settings, first_fault
from rtseg.yaml_text import read_yaml

Method = Literal["minmax", "percentile", "entropy"]
Kind = Literal["bag", "video", "pictures", "rendered"]
FIRST_RENDERED_SEED = 700_000  # away from the seeds that training and evaluation draw


class Source(Settings):
    """Frames that were drawn from one source: its name, and what it was."""

    name: str
    kind: Kind
    frames: Annotated[int, Field(ge=0)]


class CalibrationSettings(Settings):
    """What a calibration is to do.

    Attributes:
        frames: most frames to draw from each source.
        rendered: frames to render beside them.
        first_rendered_seed: seed of the first rendered frame; the next one's is one more.
        seed: of the draw from sources that have more than `frames`.
        method: how an activation's range is chosen.
        in_float: layers to leave in float from the start, beside the head; sensitive ones are added as they are found.
        evaluation_frames: frames to render for the metric where no folder is given.
    """

    frames: Annotated[int, Field(gt=0)] = 64
    rendered: Annotated[int, Field(ge=0)] = 0
    first_rendered_seed: Annotated[int, Field(ge=0)] = FIRST_RENDERED_SEED
    seed: Annotated[int, Field(ge=0)] = 0
    method: Method = "minmax"
    in_float: tuple[str, ...] = ()
    evaluation_frames: Annotated[int, Field(gt=0)] = 60


class FileResult(Settings):
    """One network file: its metric, what that is below fp32, and its hash."""

    value: float
    lost_points: float
    sha256: str


class Results(Settings):
    """What the calibration gave.

    Attributes:
        sources: what the frames were drawn from, in order.
        fp32_sha256: the network that was quantized, as it was then: weights may have been stored in float16 since.
        metric: the gated metric.
        dataset: what it was measured on.
        allowed_loss_points: what the card lets int8 cost.
        files: by file name.
    """

    sources: tuple[Source, ...]
    fp32_sha256: str
    metric: str
    dataset: str
    allowed_loss_points: float
    files: dict[str, FileResult]


class Recipe(Settings):
    """A calibration recipe, stored as ``calibration/int8/<model>.yaml``."""

    version: Literal[1] = 1
    model: str
    settings: CalibrationSettings
    results: Results | None = None

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read and validate a recipe.

        Raises:
            ModelError: the file is missing, no YAML, or a field is wrong; the message names the field.
        """
        try:
            content: Any = read_yaml(path)
            return cls.model_validate(content)
        except (OSError, yaml.YAMLError) as error:
            raise ModelError(f"expected a calibration recipe at {path}: {error}") from error
        except ValidationError as error:
            raise ModelError(f"the calibration recipe {path} does not validate: {first_fault(error)}") from error

    def dump(self, path: Path) -> None:
        """Write the recipe.

        Raises:
            MediaError: it cannot be written.
        """
        content = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=110, allow_unicode=True)
        write_text(path, content)

    def same_files(self, hashes: dict[str, str]) -> bool | None:
        """Whether a calibration gave the files that this recipe gave before; None where it does not tell."""
        if self.results is None:
            return None
        return {name: entry.sha256 for name, entry in self.results.files.items()} == hashes
