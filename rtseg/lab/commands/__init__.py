"""What the desk adds to the command line; each command imports what it needs when it runs."""

from __future__ import annotations

import typer

from rtseg.lab.commands import adapt, evaluate, foreign, replay, train, verify
from rtseg.lab.commands.bench import bench_app
from rtseg.lab.commands.calibrate import calibrate_app
from rtseg.lab.commands.data import data_app
from rtseg.lab.commands.fleet import fleet_app
from rtseg.lab.commands.inspect import inspect_app
from rtseg.lab.commands.lab import lab_app
from rtseg.lab.weak.commands import weak_app


def register(app: typer.Typer) -> None:
    """Add the desk's commands to `app`."""
    for commands in (replay.app, evaluate.app, train.app, adapt.app, foreign.app, verify.app):
        app.add_typer(commands)
    app.add_typer(bench_app, name="bench")
    app.add_typer(calibrate_app, name="calibrate")
    app.add_typer(data_app, name="data")
    app.add_typer(fleet_app, name="fleet")
    app.add_typer(inspect_app, name="inspect")
    app.add_typer(lab_app, name="lab")
    app.add_typer(weak_app, name="weak")
