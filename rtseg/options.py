"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rtseg.printing import be_quiet

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder with card.yaml.")]
BackendOption = Annotated[str, typer.Option(help="auto, tensorrt, torch, onnxruntime or openvino.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or dla on a Jetson.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Threads of the network; all cores by default.")
]
NetworkOption = Annotated[str | None, typer.Option(help="Another network of the card, such as model-fp32.onnx.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
TopicOption = Annotated[str | None, typer.Option(help="Image topic of a bag; needed where it has several.")]
IgnoreOption = Annotated[
    str | None,
    typer.Option(
        "--ignore",
        help="What of the frames is not road: a mask picture, YAML with polygons, or auto: what stands still while the "
        "road moves, written to ignore.png.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _hush(quiet: bool) -> None:
    if quiet:
        be_quiet()


QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_hush, expose_value=False, help="Say nothing but errors, warnings and --json."
    ),
]


class QuietGroup(TyperGroup):
    """The root of all commands: each takes --quiet, those that other parts register too, and need not know of it.

    Their help fills the terminal: the lines of a docstring's paragraphs are joined.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        made = typer.Typer(add_completion=False)

        @made.command()
        def option(quiet: QuietOption = False) -> None: ...

        _add(self, typer.main.get_command(made).params[0])


def _add(command: Any, option: Any) -> None:
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        command.params.append(option)
    paragraphs = re.split(r"\n\s*\n", command.help or "")
    command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for child in children.values():
        _add(child, option)
