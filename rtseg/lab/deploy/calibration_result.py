"""What an int8 calibration did and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from rtseg.lab.deploy.layer_errors import LayerError
from rtseg.lab.deploy.network_files import FLOAT, INT8, INT8_TENSORRT
from rtseg.lab.deploy.recipe import CalibrationSettings, FileResult, Recipe, Results, Source
from rtseg.runtime.card import ModelCard


@dataclass(frozen=True)
class Int8Calibration:
    """What a calibration did and what it cost.

    Attributes:
        card: the card with the new files and scores.
        settings: what was asked for.
        sources: what the calibration frames were drawn from.
        dataset: what the metric was measured on.
        metric: name of the gated metric.
        values: metric as a share, by network file.
        in_float: sensitive layers left in float, in the order in which they were found.
        head: layers that give the outputs, always left in float.
        errors: errors of each layer, by network file.
    """

    card: ModelCard
    settings: CalibrationSettings
    sources: tuple[Source, ...]
    dataset: str
    metric: str
    values: dict[str, float]
    in_float: tuple[str, ...]
    head: tuple[str, ...]
    errors: dict[str, list[LayerError]]

    @property
    def recipe(self) -> Recipe:
        """The calibration as a recipe that does it again."""
        found = {file.file: file.sha256 for file in self.card.files}
        lost = {FLOAT: 0.0, **self.losses}
        return Recipe(
            model=self.card.name,
            settings=self.settings.model_copy(update={"in_float": self.in_float}),
            results=Results(
                sources=self.sources,
                fp32_sha256=found[FLOAT],
                metric=self.metric,
                dataset=self.dataset,
                allowed_loss_points=self.card.max_int8_loss,
                files={
                    file: FileResult(value=round(value, 4), lost_points=round(lost[file], 2), sha256=found[file])
                    for file, value in self.values.items()
                },
            ),
        )

    @property
    def losses(self) -> dict[str, float]:
        """Points lost to fp32, by int8 file."""
        return {file: 100 * (self.values[FLOAT] - self.values[file]) for file in (INT8, INT8_TENSORRT)}
