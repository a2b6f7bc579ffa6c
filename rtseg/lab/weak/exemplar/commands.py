"""``rtseg weak exemplar run|free|score``: an instance model from no labels at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rtseg.counted import counted
from rtseg.options import JsonOption, TopicOption
from rtseg.printing import console, print_json

exemplar_app = typer.Typer(help="Instance masks from no labels at all (Exemplar-FreeSOLO).", no_args_is_help=True)


def add_to(weak_app: typer.Typer, progress: Callable[[], AbstractContextManager[Any]]) -> None:
    """Put the commands below ``rtseg weak``; `progress` opens the bars that its commands share."""

    @exemplar_app.command("run")
    def run_command(
        source: Annotated[Path, typer.Argument(help="Bag, video, or folder of pictures.")],
        out: Annotated[
            Path, typer.Option("--out", "-o", help="Folder of the run; a run that is there goes on.")
        ] = Path("out/exemplar"),
        config: Annotated[str, typer.Option(help="Training configuration, bundled or a YAML file.")] = "exemplar-solo",
        topic: TopicOption = None,
        every: Annotated[int, typer.Option(min=1, help="Use each n-th frame of the recording.")] = 1,
        rounds: Annotated[int, typer.Option(min=0, help="Rounds of self-training with exemplars.")] = 1,
        exemplars: Annotated[int, typer.Option(min=1, help="Objects in the exemplar pool.")] = 64,
        confidence: Annotated[
            float, typer.Option(min=0.0, max=1.0, help="Least score of a mask to learn from, and that the model gives.")
        ] = 0.15,
        name: Annotated[str, typer.Option(help="Of the model.")] = "exemplar-solo",
        data: Annotated[
            list[str] | None, typer.Option(help="What was recorded, and its licence, for the card.")
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Train an instance model on a recording without labels (needs the extra train)."""
        from rtseg.lab.weak.exemplar.run import ExemplarSettings, train_without_labels

        settings = ExemplarSettings(every, config, rounds, confidence=confidence, name=name, data=tuple(data or ()))
        settings = replace(settings, pool=settings.pool.model_copy(update={"count": exemplars}))
        with progress() as advance:
            run = train_without_labels(source, out, settings, topic, advance)
        if as_json:
            stages = {stage.folder.name: dict(stage.summary) for stage in run.stages.values()}
            print_json({"model": run.model, "stages": stages})
            return
        for stage in run.stages.values():
            kept = "from before" if stage.reused else f"{stage.seconds:.0f} s"
            console.print(f"{stage.folder.name}: {dict(stage.summary)} ({kept})")
        console.print(f"model: {run.model} (rtseg run VIDEO --model {run.model})")

    @exemplar_app.command("score")
    def score_command(
        masks: Annotated[Path, typer.Argument(help="Stage with a mask file a picture, such as OUT/07-masks-1.")],
        data: Annotated[Path, typer.Option(help="Labelled frames of the same names: cityscapes640, Cityscapes, COCO.")],
        holdout: Annotated[bool, typer.Option(help="Score held-out cities only.")] = False,
        results: Annotated[Path | None, typer.Option(help="Also write the masks in COCO's results format.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Score masks without classes against labels: AP and AR as in the paper's tables."""
        from rtseg.lab.data.instance_folders import instance_frames
        from rtseg.lab.weak.exemplar.run import stage_masks
        from rtseg.lab.weak.exemplar.score import score_masks

        frames = instance_frames([data], "holdout" if holdout else "all")
        score, count = score_masks(stage_masks(masks), frames, results)
        if as_json:
            print_json({"frames": count, "scores": score})
            return
        table = Table(title=f"class-agnostic, {counted(count, 'frame')}, %")
        values = vars(score)
        for key in values:
            table.add_column(key)
        table.add_row(*(f"{100 * value:.2f}" for value in values.values()))
        console.print(table)

    weak_app.add_typer(exemplar_app, name="exemplar")
