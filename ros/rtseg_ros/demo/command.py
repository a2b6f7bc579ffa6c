"""``rtseg demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtseg.options import OutOption, TopicOption


def register(app: typer.Typer) -> None:
    """Add ``demo`` to `app`."""
    app.command()(demo)


def demo(
    input: Annotated[Path | None, typer.Option(help="Bag or video to drive instead of a rendered road.")] = None,
    topic: TopicOption = None,
    out: OutOption = Path("out/demo"),
    task: Annotated[Literal["lanes", "instances", "both"], typer.Option(help="What the node is to find.")] = "lanes",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model of the task; lanes-lite or instances-lite by default.")
    ] = None,
    instances_model: Annotated[str | None, typer.Option(help="Instances' model with --task both.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of the rendered drive.")] = 15.0,
) -> None:
    """Run the whole system live: player, node and recorder in their own processes over DDS."""
    from rtseg_ros.demo.run import run_demo

    run_demo(input, out, model, seconds, task=task, instances_model=instances_model, topic=topic)
