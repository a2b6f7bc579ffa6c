"""``rtseg demo``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rtseg.options import JsonOption, OutOption, TopicOption
from rtseg.printing import console, print_json

if TYPE_CHECKING:
    from rtseg_ros.demo.products import Summary


def register(app: typer.Typer) -> None:
    """Add ``demo`` to `app`."""
    app.command()(demo)


def demo(
    input: Annotated[Path | None, typer.Option(help="Bag or video to drive instead of a rendered road.")] = None,
    topic: TopicOption = None,
    out: OutOption = Path("out/demo"),
    task: Annotated[Literal["lanes", "instances", "both"], typer.Option(help="What the node is to find.")] = "lanes",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Of the task, of both that of the lanes: lanes-lite or instances-lite by default.",
        ),
    ] = None,
    instances_model: Annotated[
        str | None, typer.Option(help="With --task both, the model of the instances; instances-lite by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, max=3600, help="Length of the rendered drive.")] = 15.0,
    as_json: JsonOption = False,
) -> None:
    """Run the whole system live: player, node and recorder in their own processes over DDS."""
    from rtseg_ros.demo.run import run_demo

    summary = run_demo(input, out, model, seconds, task=task, instances_model=instances_model, topic=topic)
    if as_json:
        print_json({**asdict(summary), "lost": summary.lost})
        return
    _print_table(summary)
    for path in (summary.video, summary.bag, summary.report):
        console.print(f"wrote {path}")


def _print_table(summary: Summary) -> None:
    from rich.table import Table

    table = Table(title=summary.title, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    late = f" ({summary.late} sent late)" if summary.late else ""
    table.add_row("frames sent", f"{summary.sent} at {summary.rate:.0f} Hz{late}")
    table.add_row("masks received", str(summary.received))
    table.add_row("lost", f"{summary.lost} ({summary.lost_where})" if summary.lost else "0")
    table.add_row("stamp to mask, p50 / p99", f"{summary.latency_p50:.1f} / {summary.latency_p99:.1f} ms")
    table.add_row("masks a second", f"{summary.fps:.1f}")
    for noun, mean in summary.found.items():
        table.add_row(f"{noun} a frame", f"{mean:.2f}")
    table.add_row("backend", summary.backend)
    console.print(table)
