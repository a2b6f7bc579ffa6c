"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.printing import PlainConsole

console = PlainConsole()
progress_console = PlainConsole(stderr=True)
"""Where progress is shown: standard output is for results, which scripts read."""

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder with card.yaml.")]
BackendOption = Annotated[str, typer.Option(help="auto, tensorrt, torch, onnxruntime or openvino.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or dla on a Jetson.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of the network; all cores by default.")]
NetworkOption = Annotated[str | None, typer.Option(help="Another network of the card, such as model-fp32.onnx.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
TopicOption = Annotated[str | None, typer.Option(help="Image topic of a bag; found by type where there is one.")]
IgnoreOption = Annotated[
    str | None,
    typer.Option(
        "--ignore",
        help="What of the frames is not road: a mask picture, YAML with polygons, or auto: what stands still while the "
        "road moves, written to ignore.png.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
