"""A network of another's making becomes a model folder: card, network, and one picture on which it was tried."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, ModelError
from rtseg.files import staging
from rtseg.lab.deploy.foreign.answers import NORMALIZATIONS, Answers
from rtseg.lab.deploy.foreign.families import FAMILIES, Described, Family
from rtseg.lab.deploy.foreign.network import ForeignNetwork, open_foreign
from rtseg.lab.deploy.model_folder import check_folder, model_name
from rtseg.loading import load
from rtseg.media.images import read_image, write_image
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.results import Instances, Lanes
from rtseg.runtime.card import ModelCard, ModelFile, ModelInput, Training, sha256_of

NETWORK, CARD, OVERLAY = "model.onnx", "card.yaml", "overlay.jpg"
_PICTURE_SEED = 3
_LEAST_SIDE, _MOST_SIDE = 64, 1280  # pixels of a rendered street


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        card: of the model.
        result: on the picture.
        overlay: the picture with the result drawn over it.
    """

    card: ModelCard
    result: Lanes | Instances
    overlay: Path


def import_model(
    path: Path,
    family: Family,
    out: Path,
    answers: Answers | None = None,
    *,
    size: tuple[int, int] | None = None,
    licence: str | None = None,
    picture: Path | None = None,
) -> Imported:
    """Read a network, say in a card what it is, run it on a picture, and write all of it only if that went well.

    Args:
        path: ONNX file.
        family: how its outputs read.
        out: model folder to write, whose name becomes that of the model; a folder of an earlier import is replaced.
        answers: to what the file does not say.
        size: (height, width) where the file leaves it open.
        licence: of the weights; what the file says, by default.
        picture: to try it on; a rendered road or street by default.

    Raises:
        ConfigError: an answer is missing, or does not fit; or the package onnx is not installed.
        ModelError: the network cannot be run, does not have the outputs of its family, or `out` is another model's.
        ImageError, MediaError: the picture cannot be read.
    """
    model_name(out)  # before the work
    check_folder(out)
    _refuse_another(path, out)
    network = open_foreign(path, size)
    described = FAMILIES[family](path, network, _with_what_is_inside(path, network, answers or Answers()))
    _refuse_infinite(path, network, described)
    needs = _input(network, described)
    image = _picture(described, needs) if picture is None else np.asarray(read_image(picture))
    with staging(out) as stage:
        sides = {output.name: output.sides(needs) for output in described.outputs}
        (stage / NETWORK).write_bytes(network.reduced(sides))
        card = _card(path, family, out, network, described, licence, stage)
        card.dump(stage / CARD)
        pipeline = load(stage, device="cpu", backend="onnxruntime")
        try:
            result = pipeline(image)
        finally:
            pipeline.close()
        if isinstance(result, Lanes):
            overlay = draw_lanes(image, result)
        else:
            overlay = draw_instances(image, result, card.classes)
        write_image(stage / OVERLAY, overlay)
        out.mkdir(parents=True, exist_ok=True)
        for name in (NETWORK, OVERLAY, CARD):
            os.replace(stage / name, out / name)
    return Imported(card, result, out / OVERLAY)


def _refuse_infinite(path: Path, network: ForeignNetwork, described: Described) -> None:
    """Check what is read of the network: the picture that it is tried on may show nothing of what it finds."""
    for output in described.outputs:
        if not np.isfinite(network.outputs[output.name]).all():
            raise ModelError(
                f"expected finite values in {output.name} of {path.name}, got NaN or infinite ones for a picture of "
                "noise; check its weights, or export it in float32"
            )


def _refuse_another(path: Path, out: Path) -> None:
    if not (out / CARD).is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ModelError(f"expected a new folder for the model, got {out}, which is there; give another --out")
        return
    before = ModelCard.load(out / CARD)
    if before.training.command != _command(path):
        raise ModelError(
            f"expected a new folder, or an earlier import of {path.name}, got {out}, which holds the model "
            f"{before.name}; give another --out"
        )


def _with_what_is_inside(path: Path, network: ForeignNetwork, answers: Answers) -> Answers:
    """A network of bytes normalizes them by itself."""
    if not network.takes_bytes:
        return answers
    if answers.normalization not in (None, NORMALIZATIONS["none"]):
        raise ConfigError(f"{path.name} takes bytes and normalizes them by itself; leave out --normalize")
    return replace(answers, normalization=NORMALIZATIONS["none"])


def _command(path: Path) -> str:
    return f"rtseg import {path.name}"


def _input(network: ForeignNetwork, described: Described) -> ModelInput:
    answers = described.answers
    assert answers.normalization is not None
    mean, std = answers.normalization
    if answers.order == "bgr" and answers.normalization in NORMALIZATIONS.values():
        mean, std = mean[::-1], std[::-1]
    if min(std) <= 0:
        raise ConfigError(f"expected deviations above 0 in --normalize, got {std}")
    return ModelInput(
        name=network.input,
        width=network.size[1],
        height=network.size[0],
        order=answers.order or "rgb",
        mean=mean,
        std=std,
        fit=answers.fit or "stretch",
        top=described.top,
    )


def _card(
    path: Path,
    family: Family,
    out: Path,
    network: ForeignNetwork,
    described: Described,
    licence: str | None,
    stage: Path,
) -> ModelCard:
    file = ModelFile(file=NETWORK, sha256=sha256_of(stage / NETWORK), precision=network.precision)
    needs = _input(network, described)
    try:
        return ModelCard(
            name=model_name(out),
            family=family.replace("-", "_"),
            task=described.task,
            summary=f"Imported as {family} from {path.name}, {needs.width}x{needs.height}",
            licence=licence or network.metadata.get("license") or "not known: ask whom the weights are from",
            model=file,
            input=needs,
            outputs=described.outputs,
            grouping=described.grouping,
            classes=described.classes,
            training=Training(command=_command(path), data=(), seed=0, notes=f"{path.name}: sha256 {sha256_of(path)}"),
        )
    except ValueError as error:
        raise ModelError(f"{path.name} cannot be imported to {out}: {error}") from error


def _picture(described: Described, needs: ModelInput) -> NDArray[np.uint8]:
    from rtseg.lab.render import render_road, render_street

    if described.task == "lanes":
        return render_road(_PICTURE_SEED).image
    height, width = (min(max(side, _LEAST_SIDE), _MOST_SIDE) for side in (needs.height, needs.width))
    return render_street(_PICTURE_SEED, (height, width)).image
