"""int8 for a model that exists: calibrate, leave sensitive layers in float, refuse what loses too much."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import ModelError
from rtseg.files import staging
from rtseg.lab.deploy.calibration_frames import draw_frames
from rtseg.lab.deploy.calibration_metric import Measured, TaskMetric, gated_metric, task_metric
from rtseg.lab.deploy.calibration_report import write_calibration_report
from rtseg.lab.deploy.calibration_result import Int8Calibration
from rtseg.lab.deploy.float_arithmetic import in_float_arithmetic
from rtseg.lab.deploy.layer_errors import LayerError, layer_errors
from rtseg.lab.deploy.model_folder import check_folder
from rtseg.lab.deploy.network_files import FLOAT, INT8, INT8_TENSORRT, network_files, write_int8_networks
from rtseg.lab.deploy.quantize import Calibration, calibrate_ranges, layer_names, read_float_network
from rtseg.lab.deploy.recipe import CalibrationSettings, Source
from rtseg.loading import load
from rtseg.runtime import find_model
from rtseg.runtime.card import ModelCard, ModelFile, Score, sha256_of
from rtseg.runtime.fitting import network_input
from rtseg.runtime.models import float_network

RECIPES = Path("calibration/int8")
MOST_FLOAT_LAYERS = 8
_COMPARED_FRAMES = 8


def calibrate_int8(
    model: str | Path,
    data: Sequence[Path],
    out: Path,
    settings: CalibrationSettings | None = None,
    *,
    evaluation: Path | None = None,
    recipes: Path = RECIPES,
    progress: bool = False,
) -> Int8Calibration:
    """Quantize a model from calibration frames, and write it only if it keeps its metric.

    Where the metric falls by more than the card's `max_int8_loss`, the layer that adds most error is left in float and
    the metric measured again, up to :data:`MOST_FLOAT_LAYERS` times.

    Args:
        model: bundled model or folder with a card that names an fp32 network.
        data: bags, videos, pictures or folders to draw calibration frames from.
        out: model folder to write: card, fp32 network and both int8 forms; may be the folder of `model`.
        settings: frames, seeds and method; a recipe's to do a calibration again.
        evaluation: labelled frames on which the metric is measured: TuSimple's or CULane's for lanes, any folder that
            :func:`rtseg.lab.data.instance_folders.read_instances` reads for instances, of which the held-out cities are
            taken; rendered frames by default.
        recipes: folder for ``<model>.yaml`` and ``<model>.html``.
        progress: show a bar while a network is measured.

    Raises:
        MediaError: a source of frames cannot be opened.
        DatasetError: there are no frames, or the evaluation set does not parse or gives no metric to lose.
        ConfigError: a scoring tool is not installed.
        ModelError: the model has no fp32 network, or none of a layer that is to be left in float, or int8 loses more
            than its card allows; nothing is written then.
    """
    for folder in (out, recipes):
        check_folder(folder)
    found = find_model(model)
    card, source = found.card, float_network(found)
    settings = settings or CalibrationSettings()
    network = read_float_network(source)
    in_float = _known(settings.in_float, network)
    if (out / "card.yaml").is_file() and not out.samefile(found.path.parent):
        other = ModelCard.load(out / "card.yaml")
        if other.name != card.name:
            raise ModelError(
                f"expected a new folder, or one of {card.name}, got {out}, which holds the model {other.name}; "
                "give another --out"
            )
    with staging(out) as stage:
        task = task_metric(card, evaluation, settings.evaluation_frames, stage / "rendered", progress)
        drawn = draw_frames(data, settings, task.render)
        images = [image for source in drawn.values() for image in source.images]
        inputs = [np.array(network_input(image, card.input)) for image in images]
        # Every fourth frame is held back to compare layers on.
        fitted = [value for i, value in enumerate(inputs) if i % 4] or inputs
        compared = inputs[::4][:_COMPARED_FRAMES]
        shutil.copyfile(source, stage / FLOAT)
        calibration = calibrate_ranges(network, fitted, settings.method)
        scores = {FLOAT: _measure(task, card, stage, FLOAT)}
        metric, dataset = gated_metric(card, task.gates, scores[FLOAT]), scores[FLOAT].dataset
        while True:
            write_int8_networks(calibration, stage, in_float)
            errors = _errors(calibration, stage, in_float, compared)
            for file in (INT8, INT8_TENSORRT):
                scores[file] = _measure(task, card, stage, file)
            values = {file: measured.metrics.get(metric, 0.0) for file, measured in scores.items()}
            loss = 100 * (values[FLOAT] - min(values.values()))
            if loss <= card.max_int8_loss:
                break
            worst = _most_sensitive(errors, {*in_float, *calibration.head})
            if worst is None or len(in_float) == MOST_FLOAT_LAYERS:
                layers = counted(len(in_float), "layer")
                raise ModelError(
                    f"int8 loses {loss:.2f} points of {metric} on {dataset} with {layers} left in float, the "
                    f"card of {card.name} allows {card.max_int8_loss:g}; calibrate on frames like those it will see"
                )
            in_float.append(worst)
        card = _new_card(card, stage, metric, scores)
        result = Int8Calibration(
            card=card,
            settings=settings,
            sources=tuple(Source(name=n, kind=s.kind, frames=len(s.images)) for n, s in drawn.items()),
            dataset=dataset,
            metric=metric,
            values=values,
            in_float=tuple(in_float),
            head=calibration.head,
            errors=errors,
        )
        card.dump(stage / "card.yaml")
        write_calibration_report(result, recipes)
        out.mkdir(parents=True, exist_ok=True)
        for name in (FLOAT, INT8, INT8_TENSORRT, "card.yaml"):
            os.replace(stage / name, out / name)
    return result


def _known(layers: Sequence[str], network: onnx.ModelProto) -> list[str]:
    there = layer_names(network)
    for layer in layers:
        if layer not in there:
            raise ModelError(f"expected layers of the network to leave in float, it has no {layer!r}; see its report")
    return list(layers)


def _measure(task: TaskMetric, card: ModelCard, stage: Path, file: str) -> Measured:
    """Measure one of the staged networks in ONNX Runtime, that for TensorRT as a card computes it."""
    with tempfile.TemporaryDirectory(dir=stage) as folder:
        if file == INT8_TENSORRT:
            onnx.save(in_float_arithmetic(onnx.load(stage / file)), Path(folder) / file)
        else:
            os.link(stage / file, Path(folder) / file)
        digest = sha256_of(Path(folder) / file)
        entry = ModelFile(file=file, sha256=digest, precision="fp32" if file == FLOAT else "int8")
        card.model_copy(update={"model": entry, "alternatives": ()}).dump(Path(folder) / "card.yaml")
        pipeline = load(folder, backend="onnxruntime")
        try:
            return task.measure(pipeline)
        finally:
            pipeline.close()


def _errors(
    calibration: Calibration, stage: Path, in_float: Sequence[str], inputs: Sequence[NDArray[np.float32]]
) -> dict[str, list[LayerError]]:
    left = {*in_float, *calibration.head}
    return {
        INT8: layer_errors(calibration, onnx.load(stage / INT8), "cpu", left, inputs),
        INT8_TENSORRT: layer_errors(calibration, onnx.load(stage / INT8_TENSORRT), "tensorrt", left, inputs),
    }


def _most_sensitive(errors: dict[str, list[LayerError]], left: set[str]) -> str | None:
    """The layer that adds most error in either form, of those not in float yet."""
    candidates = [error for layers in errors.values() for error in layers if error.layer not in left]
    return max(candidates, key=lambda error: error.added).layer if candidates else None


def _new_card(card: ModelCard, stage: Path, gated: str, scores: dict[str, Measured]) -> ModelCard:
    model, alternatives = network_files(stage)
    command = f"rtseg calibrate int8 {card.name}, recipe calibration/int8/{card.name}.yaml"
    dataset = scores[FLOAT].dataset
    measured = tuple(
        Score(
            dataset=dataset,
            metric=metric,
            value=round(float(scores[file].metrics[metric]), 4),
            precision="fp32" if file == FLOAT else "int8",
            command=command,
            file=INT8_TENSORRT if file == INT8_TENSORRT else None,
        )
        for file in (INT8, FLOAT, INT8_TENSORRT)
        for metric in sorted(scores[file].metrics, key=lambda name: name != gated)  # the first is what others gate on
    )
    # Older int8 scores are those of other files.
    same = any(entry.sha256 == model.sha256 for entry in card.files)
    kept = tuple(
        score
        for score in card.scores
        if score.dataset != dataset and (score.precision != "int8" or (same and score.file is None))
    )
    return card.model_copy(update={"model": model, "alternatives": alternatives, "scores": (*measured, *kept)})
