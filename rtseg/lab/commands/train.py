"""``rtseg train`` and ``rtseg export``: from labelled frames to a model of one's own."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rtseg.errors import ConfigError
from rtseg.files import held
from rtseg.options import JsonOption
from rtseg.printing import console, print_json

app = typer.Typer()
_OF_A_RUN = ("model.safetensors", "last.ckpt")


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="Bundled configuration (lanes-lite, instances-lite, gmis-r50, ...) or a YAML file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, logs, weights.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Labelled frames: as TuSimple, CULane; for instances Cityscapes, COCO; of labelme or CVAT for both."
        ),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Folders looked at after each epoch; for instances only their held-out cities."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Go on from these weights: a bundled model, a model folder, or a run's safetensors."),
    ] = None,
    rendered: Annotated[
        Path | None, typer.Option(help="Folder of rendered frames, which runs can share; by default in --out.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, where they lie outside of the labels' own.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes instead of an hour: few samples an epoch, few rendered frames.")
    ] = False,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=10_000.0,
            help="Hours it may take from now on, also with --resume: epochs are planned by the rate measured here, and "
            "it ends in time.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network of lanes or instances (needs the train extra)."""
    begun = time.monotonic()  # the libraries take their time, too
    from rtseg.lab.training.stages import train_stages
    from rtseg.lab.weak.recordings import label_recordings

    if not resume and "LOCAL_RANK" not in os.environ and any((out / name).exists() for name in _OF_A_RUN):
        raise ConfigError(
            f"expected a new folder for the run, got {out}, which holds another's weights; "
            "give another --out, or --resume to go on with it"
        )
    if quick and hours:
        raise ConfigError("expected --quick or --hours, got both: --quick takes minutes whatever the machine")
    with held(out) if "LOCAL_RANK" not in os.environ else nullcontext():
        weights = train_stages(
            config,
            data=data or [],
            out=out,
            resume=resume,
            validation=validation or [],
            cache=rendered,
            start=start,
            images=images,
            quick=quick,
            teach=label_recordings,
            hours=hours and hours - (time.monotonic() - begun) / 3600,
        )
    if as_json:
        print_json({"weights": weights})
        return
    console.print(f"weights: {weights}")
    console.print(f"next: rtseg export {out} --out my-model, then rtseg run VIDEO --model my-model")


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write: card.yaml and the networks.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Real frames to calibrate int8 with, beside rendered.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also in place of a model of another run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a trained network to ONNX, quantize it, and write its card (needs the train extra)."""
    from rtseg.lab.deploy.package import package_model, refuse_another

    if not replace:
        refuse_another(run_folder, out)
    card = package_model(run_folder, out, calibration=data or [])
    if as_json:
        print_json({"model": out, "card": card})
        return
    console.print(f"card: {card}")
