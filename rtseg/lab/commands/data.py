"""``rtseg data``: labels for training, looked at before they are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtseg.options import JsonOption, OutOption
from rtseg.printing import console, print_json, visible

data_app = typer.Typer(help="Look at labels before training on them.", no_args_is_help=True)

_TOLD = 20  # faults on the terminal


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Labels of any kind that rtseg train reads.")],
    out: OutOption = Path("out/data"),
    task: Annotated[
        Literal["lanes", "instances"] | None,
        typer.Option("--for", help="What to train; by default what the labels tell."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, if they lie elsewhere.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what labels are there and what is wrong with them, and draw some; exit code 1 if anything is wrong."""
    from rtseg.lab.studies.data_check import check_data

    check = check_data(folder, task, images)
    page = check.write(out)
    if as_json:
        print_json({**check.facts(), "report": page})
    else:
        console.print(check.table())
        for fault in check.faults[:_TOLD]:
            console.print(visible(fault), style="red", markup=False)
        if len(check.faults) > _TOLD:
            console.print(f"and {len(check.faults) - _TOLD} more")
        for note in check.notes:
            console.print(visible(note), markup=False)
        console.print(f"report: {page}")
    raise typer.Exit(1 if check.faults else 0)
