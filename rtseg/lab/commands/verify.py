"""``rtseg verify``: does an engine, or a quantized network, find what the model finds?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.errors import ConfigError
from rtseg.options import BackendOption, DeviceOption, JsonOption, NetworkOption, ThreadsOption
from rtseg.printing import console, print_json

app = typer.Typer()


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="Bundled model or folder with card.yaml.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Bags, videos or folders of frames; rendered ones by default.")
    ] = None,
    network: NetworkOption = None,
    engine: Annotated[bool, typer.Option("--engine", help="The candidate is the TensorRT engine, on the GPU.")] = False,
    device: DeviceOption = "cpu",
    backend: BackendOption = "onnxruntime",
    against: Annotated[
        str | None, typer.Option(help="The reference, a network of the card; its first fp32 one by default.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Most frames to draw from each --data.")] = 50,
    allow: Annotated[float, typer.Option(min=0, max=100, help="Per cent that may be lost; more is exit code 1.")] = 5.0,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a network or an engine of a model with its fp32 network on the same frames, and say what is lost."""
    from rtseg.lab.deploy.verify import verify_model

    if engine and (device, backend) != ("cpu", "onnxruntime"):
        raise ConfigError("expected --engine alone, which is --device cuda --backend tensorrt; leave those out")
    found = verify_model(
        model,
        data or [],
        network=network,
        against=against,
        device="cuda" if engine else device,
        backend="tensorrt" if engine else backend,
        frames=frames,
        threads=threads,
    )
    if as_json:
        print_json(found.figures())
    else:
        console.print(found.table())
        console.print(f"lost, renamed or invented: {100 * found.lost_share:.1f} %, allowed {allow:g} %")
    raise typer.Exit(0 if 100 * found.lost_share <= allow else 1)
