"""``rtseg inspect``: look at what networks put out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.printing import console

inspect_app = typer.Typer(help="Look at what networks put out.", no_args_is_help=True)


@inspect_app.command("affinity")
def inspect_affinity(
    file: Annotated[Path, typer.Argument(help=".npz with affinity (K, H, W), offsets (K, 2) and perhaps mask (H, W).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")] = Path("out/affinity.png"),
) -> None:
    """Draw affinities, the order of merging and the result."""
    from rtseg.lab.studies.inspect import inspect_affinity as inspect

    console.print(f"wrote {inspect(file, out)}")
