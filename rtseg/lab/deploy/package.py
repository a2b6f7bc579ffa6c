"""A trained run, of lanes or of instances, made into a model folder: networks beside a validated card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import DatasetError, ImageError, ModelError
from rtseg.files import staging
from rtseg.lab.data.selection import evenly
from rtseg.lab.deploy.describe_instances import Description, describe_instances
from rtseg.lab.deploy.export import INPUT, OUTPUT, export_onnx
from rtseg.lab.deploy.model_folder import check_folder, model_name
from rtseg.lab.deploy.network_files import FLOAT, INT8, network_files, write_int8_networks
from rtseg.lab.deploy.quantize import (
    QuantizationReport,
    calibrate_ranges,
    compare_networks,
    network_inputs,
    read_float_network,
)
from rtseg.lab.nets.backbones import pretrained_package
from rtseg.lab.training.config import RunConfig, TrainingConfig
from rtseg.lab.training.instances.config import InstanceConfig
from rtseg.lab.training.train import load_network
from rtseg.media.images import read_image
from rtseg.runtime.card import Grouping, ModelCard, ModelInput, ModelOutput, Training

RENDERED_FRAMES = 64
REAL_FRAMES = 128
STREET_SEED = 900_000


def package_model(
    run_folder: Path, out: Path, calibration: Sequence[Path] = (), command: str = "", data: Sequence[str] = ()
) -> Path:
    """Export a run's network, quantize it and write its card.

    Args:
        run_folder: folder that `rtseg.lab.training.train` wrote.
        out: model folder: `model.onnx` (int8), `model-int8-tensorrt.onnx`, `model-fp32.onnx`, `card.yaml`. Decoder
            parameters and scores of a card that is already there are kept and dropped, respectively.
        calibration: folders of real frames that int8 ranges are chosen on, beside rendered ones.
        command: how the network was trained, for the card; by default what the run folder says.
        data: names and licences of the training data, for the card.

    Returns:
        The path of the card.

    Raises:
        ConfigError: `out` is a file, or its name cannot be a model's.
        MediaError: it cannot be written.
        ModelError: if the run has no weights.
        DatasetError: if a calibration folder holds no readable image.
    """
    model_name(out)  # before the work
    check_folder(out)
    weights = run_folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"expected a training run with model.safetensors in {run_folder}, found none; train one first")
    network, config = load_network(weights)
    command = command or _told_command(run_folder)
    with staging(out) as stage:
        card = _packaged(stage, out, network, config, weights, calibration, command, data)
        card.dump(stage / "card.yaml")
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(stage.iterdir(), key=lambda path: path.name == "card.yaml"):  # the card comes last
            os.replace(path, out / path.name)
    return out / "card.yaml"


def refuse_another(run_folder: Path, out: Path) -> None:
    """Refuse a folder that holds another model than an earlier export of the run.

    Raises:
        ModelError: it does, or its card does not parse.
    """
    if not (out / "card.yaml").is_file():
        return
    before = ModelCard.load(out / "card.yaml")
    if before.training.command != _told_command(run_folder):
        raise ModelError(
            f"expected a new folder, or an earlier export of the run, got {out}, which holds the model {before.name}; "
            "give another --out, or --replace"
        )


def _packaged(
    stage: Path,
    out: Path,
    network: Any,
    config: RunConfig,
    weights: Path,
    calibration: Sequence[Path],
    command: str,
    data: Sequence[str],
) -> ModelCard:
    floating, quantized = stage / FLOAT, stage / INT8
    export_onnx(weights, floating)
    images = calibration_images(calibration, config)
    inputs = network_inputs(images, (config.input.height, config.input.width), network.mean, network.std)
    # Every fourth frame is held back for the comparison.
    fitted = [value for i, value in enumerate(inputs) if i % 4]
    write_int8_networks(calibrate_ranges(read_float_network(floating), fitted), stage)
    report = compare_networks(floating, quantized, inputs[::4])
    return _card(config, network, stage, out, report, command, data)


def calibration_images(folders: Sequence[Path], config: RunConfig) -> list[NDArray[np.uint8]]:
    """Real pictures spread over the folders and rendered roads or streets that were not trained on."""
    images: list[NDArray[np.uint8]] = []
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not paths:
            raise DatasetError(f"expected pictures to calibrate with in {folder}, found none")
        for path in evenly(paths, max(1, REAL_FRAMES // len(folders))):
            try:
                images.append(np.asarray(read_image(path), np.uint8))
            except ImageError as error:
                raise DatasetError(f"expected readable pictures to calibrate with: {error}") from error
    return images + _rendered_images(config, bool(folders))


def _rendered_images(config: RunConfig, real: bool) -> list[NDArray[np.uint8]]:
    """Roads from beyond the training seeds; streets only where there is nothing real, which instances learn from."""
    from rtseg.lab.render import render_road, render_street

    if isinstance(config, TrainingConfig):
        first = config.data.rendered_seeds[1]
        return [render_road(first + i, config.data.rendered_size).image for i in range(RENDERED_FRAMES)]
    if real:
        return []
    size = (config.input.height, config.input.width)
    return [render_street(STREET_SEED + i, size).image for i in range(RENDERED_FRAMES)]


def _told_command(run_folder: Path) -> str:
    path = run_folder / "command.txt"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else "rtseg train"


def _card(
    config: RunConfig,
    network: Any,
    stage: Path,
    out: Path,
    report: QuantizationReport,
    command: str,
    data: Sequence[str],
) -> ModelCard:
    before = out / "card.yaml"
    kept = ModelCard.load(before).grouping if before.is_file() else None
    size, mean, std = config.input, network.mean, network.std
    model, alternatives = network_files(stage)
    epochs = counted(config.epochs, "epoch")
    trained = f"{epochs} of {config.samples_per_epoch} samples, batch {config.batch}, averaged weights."
    package = pretrained_package(config.network.backbone) if config.network.pretrained else ""  # type: ignore[attr-defined]
    licences = f"weights of the backbone: Apache-2.0 ({package})" if package else ""
    if isinstance(config, TrainingConfig):
        described = _describe_lanes(config, report)
    else:
        assert isinstance(config, InstanceConfig)
        described = describe_instances(config, network.maps, report)
    return ModelCard(
        name=model_name(out),
        family=described.family,
        task=described.task,
        summary=described.summary,
        licence="Apache-2.0",
        model=model,
        alternatives=alternatives,
        input=ModelInput(
            name=INPUT,
            width=size.width,
            height=size.height,
            order="rgb",
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
        ),
        outputs=described.outputs,
        grouping=kept or described.grouping,
        classes=described.classes,
        training=Training(
            command=command,
            data=tuple(data) or described.data,
            seed=config.seed,
            notes=f"{trained} {described.compared} {licences}".strip(),
        ),
    )


def _describe_lanes(config: TrainingConfig, report: QuantizationReport) -> Description:
    network, size = config.network, config.input
    first, last = config.data.rendered_seeds
    return Description(
        family="l2c",
        task="lanes",
        summary=f"Lane lines, up to {network.lanes}: L2C on {network.backbone}, c = {network.channels}, "
        f"{size.width}x{size.height}, int8",
        outputs=(ModelOutput(name=OUTPUT, kind="colors", channels=network.lanes + 1, stride=4),),
        grouping=Grouping(method="lanes"),
        classes=("lane",),
        data=(f"rtseg.lab.render seeds {first} to {last - 1} (Apache-2.0)",),
        compared=f"int8 against fp32 on {counted(report.frames, 'frame')}: logits rms error "
        f"{report.rms_error:.4f} of their spread, same line id on {report.id_agreement:.4f} of line pixels, "
        f"line or no line on {report.background_agreement:.4f} of all pixels.",
    )
