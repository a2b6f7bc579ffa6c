"""``rtseg train`` and ``rtseg export``: from labelled frames to a model of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.options import console

app = typer.Typer()


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="Bundled configuration (lanes-lite, daffnet-lite, gmis-r50, ...) or a YAML file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, logs, weights.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Labelled frames: TuSimple's or CULane's layout for lanes, Cityscapes' or COCO for instances."
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
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train a network of lanes or instances (needs the train extra)."""
    from rtseg.lab.training.train import train as train_network

    weights = train_network(
        config, data=data or [], out=out, resume=resume, validation=validation or [], cache=rendered, start=start
    )
    console.print(f"weights: {weights}")


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write: card.yaml and the networks.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Real frames to calibrate int8 with, beside rendered.")
    ] = None,
) -> None:
    """Export a trained network to ONNX, quantize it, and write its card (needs the train extra)."""
    from rtseg.lab.deploy.package import package_model

    card = package_model(run_folder, out, calibration=data or [])
    console.print(f"card: {card}")
