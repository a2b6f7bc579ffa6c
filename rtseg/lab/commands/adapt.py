"""``rtseg adapt``: a lane model made to fit one's own camera by its recordings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtseg.options import JsonOption, ModelOption, TopicOption
from rtseg.printing import console, print_json, remarks_console
from rtseg.progress import Bars

app = typer.Typer()


@app.command()
def adapt(
    recordings: Annotated[list[Path], typer.Argument(help="Bags or videos of one camera, some minutes of driving.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write, if the model is better.")],
    model: ModelOption = "lanes-lite",
    minutes: Annotated[float, typer.Option(min=0.5, max=1e5, help="What all of it may take, about.")] = 60.0,
    labels: Annotated[
        Path | None, typer.Option(help="Labelled frames of the camera to judge by as well; they are not learned from.")
    ] = None,
    topic: TopicOption = None,
    as_json: JsonOption = False,
) -> None:
    """Adapt a lane model to your camera without labels; it is kept only if it is better (needs the train extra).

    The model labels what it is sure of, learns it beside rendered roads, and is blended with what it was. The last
    quarter of each recording is kept back and decides; rendered roads must not get worse. Exit code 1 if it is not
    better. Stopped, the same command goes on.
    """
    from rich.progress import TaskID

    from rtseg.lab.adapt.run import REPORT, WORK, Settings
    from rtseg.lab.adapt.run import adapt as run

    settings = Settings(tuple(recordings), model, minutes, labels, topic)
    bars: dict[str, TaskID] = {}
    with Bars() as progress:

        def advance(step: str, done: int, of: int) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step, total=of or None)
            progress.update(bars[step], completed=done, total=of or None)

        try:
            verdict = run(settings, out, remarks_console.print, advance)
        except KeyboardInterrupt:
            remarks_console.print("stopped; the same command goes on from here")
            raise typer.Exit(130) from None
    report = out / WORK / REPORT
    if as_json:
        made = out if verdict.better else out / WORK / out.name
        print_json({"better": verdict.better, "reason": verdict.reason, "model": made, "report": report})
        raise typer.Exit(0 if verdict.better else 1)
    if not verdict.better:
        console.print(f"not kept: {verdict.reason}")
        console.print(f"the refused model: {out / WORK / out.name}; report: {report}")
        raise typer.Exit(1)
    console.print(f"better: {verdict.reason}")
    console.print(f"model: {out} (rtseg run VIDEO --model {out}); report: {report}")
