"""``rtseg evaluate``: scores by the benchmarks' own rules."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rtseg.errors import ConfigError
from rtseg.options import BackendOption, DeviceOption, JsonOption, ModelOption, NetworkOption, OutOption, ThreadsOption
from rtseg.printing import console, print_json

app = typer.Typer()
OF_ONE_TASK = {
    "lanes": ("dataset", "frames", "sets"),
    "instances": ("cities", "limit", "oracle", "ablation", "grouping"),
}

_GROUPED = {"cpu": "", "device": ", grouped as on a device"}


@app.command()
def evaluate(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, or one of CULane's lists of frames.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, where they lie outside of the labels' own.")
    ] = None,
    dataset: Annotated[
        Literal["labelled", "rendered"], typer.Option(help="For lanes: the pictures of --data, or rendered ones.")
    ] = "labelled",
    frames: Annotated[int, typer.Option(min=1, help="Frames to render for --dataset rendered.")] = 200,
    cities: Annotated[
        str, typer.Option(help="For instances: held-out, all, or names with commas between.")
    ] = "held-out",
    limit: Annotated[int | None, typer.Option(min=1, help="For instances: frames at most, evenly from all.")] = None,
    oracle: Annotated[
        list[str] | None, typer.Option(help="For instances: also score with true semantic, affinity or ranking.")
    ] = None,
    sets: Annotated[
        str | None,
        typer.Option(help="For lanes: score what this training configuration keeps back of its sets, found in --data."),
    ] = None,
    ablation: Annotated[bool, typer.Option(help="For instances: also score the paper's ablation.")] = False,
    grouping: Annotated[
        Literal["cpu", "device"],
        typer.Option(help="For instances: score the card's grouping on a CPU, or (computed here) that on a device."),
    ] = "cpu",
    write_card: Annotated[bool, typer.Option(help="Enter the scores into the model's card.")] = False,
    out: OutOption = Path("out/evaluate"),
    model: ModelOption = "lanes-lite",
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    network: NetworkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model with its field's own measures; writes tables, JSON and a page with the best and worst frames.

    Lanes: TuSimple accuracy, FP and FN, and CULane F1, on pictures labelled as in TuSimple (label lines in *.json) or
    CULane (*.lines.txt; of a whole folder of either its test set), or drawn in labelme or CVAT. Instances: Cityscapes
    AP, COCO AP and AR, and PQ, on Cityscapes (gtFine), cityscapes640, COCO, labelme or CVAT folders.
    """
    from rtseg.lab.scores.card import write_scores
    from rtseg.loading import load

    pipeline = load(model, device=device, backend=backend, threads=threads, network=network)
    for task, options in OF_ONE_TASK.items():
        source = {name: context.get_parameter_source(name) for name in options if task != pipeline.card.task}
        given = [f"--{name}" for name, where in source.items() if where is not None and where.name == "COMMANDLINE"]
        if given:
            wrong = ", ".join(given)
            raise ConfigError(f"expected {wrong} for {task} only, and {model} finds {pipeline.card.task}; leave it out")
    if pipeline.card.task == "instances":
        from rtseg.lab.scores.instances.evaluate import evaluate_instances
        from rtseg.lab.scores.instances.report import terminal_tables

        if data is None:
            raise ConfigError("expected the folder of labelled frames to score instances on; give it with --data")
        found = evaluate_instances(
            pipeline,
            data,
            cities=cities,
            limit=limit,
            oracles=oracle or (),
            ablation=ablation,
            out=out,
            pictures=images,
            grouping=grouping,
        )
        tables = terminal_tables(found)
        name = found.dataset
        metrics = {metric + _GROUPED[grouping]: value for metric, value in found.metrics().items()}
    elif sets is not None:
        scored = _evaluate_sets(pipeline, sets, data, out, as_json)
        if write_card:
            cards = {write_scores(model, name, metrics, _command(), network) for name, metrics in scored.items()}
            if not as_json:
                console.print(f"card: {cards.pop()}")
        return
    else:
        from rtseg.lab.scores.lanes.evaluate import evaluate_lanes

        result = evaluate_lanes(pipeline, dataset, data, frames=frames, out=out, pictures=images)
        tables = [result.table()]
        name, metrics = result.label, result.metrics()
    card = None
    if write_card:
        card = write_scores(model, name, metrics, _command(), network)
    if as_json:
        print_json({"dataset": name, "metrics": metrics, "report": out / "report.html", "card": card})
        return
    for table in tables:
        console.print(table)
    console.print(f"report: {out / 'report.html'}")
    if card:
        console.print(f"card: {card}")


def _command() -> str:
    """What was said, without where it was written to: that changes no score, and is a folder of one machine."""
    said, left = [], iter(sys.argv[1:])
    for argument in left:
        if argument in ("--out", "-o"):
            next(left, None)
        elif argument not in ("--write-card", "--json") and not argument.startswith("--out="):
            said.append(argument)
    return shlex.join(["rtseg", *said])


def _evaluate_sets(
    pipeline: Any, config: str, data: Path | None, out: Path, as_json: bool
) -> dict[str, dict[str, float]]:
    """Score what sets keep back; metrics by set and group, as a card names them."""
    from rtseg.lab.scores.lanes.sets import by_name, score_sets, table, write_scores
    from rtseg.lab.training.configurations import lane_sets

    named = lane_sets(config)
    if data is None:
        raise ConfigError(f"expected --data with the folders of the sets that {config} names")
    scores = score_sets(pipeline, named, [data])
    write_scores(scores, out / "sets.json")
    if as_json:
        console.file.write((out / "sets.json").read_text(encoding="utf-8"))
    else:
        console.print(table(scores))
        console.print(f"scores: {out / 'sets.json'}")
    return by_name(scores)
