"""``rtseg weak label|ablate|train|compare|lanes``: labels for training from image keywords, or from a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import TaskID

from rtseg.counted import counted
from rtseg.lab.weak.exemplar.commands import add_to
from rtseg.options import JsonOption, TopicOption
from rtseg.printing import console, print_json
from rtseg.progress import Bars

if TYPE_CHECKING:
    from rtseg.lab.weak.keywords.label import LabelSettings
    from rtseg.lab.weak.keywords.label import Progress as StageProgress

weak_app = typer.Typer(help="Labels from image keywords, or from none at all.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a run that is there goes on.")]
ProposalsOption = Annotated[
    str, typer.Option(help="Where instances come from: free, a COCO JSON file, a folder of PNG masks, or a model.")
]
RetentionOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of instances that get a tag.")]
BetaOption = Annotated[
    float, typer.Option(min=0.0, max=1e6, help="Weight of the attention beside the similarity graph.")
]
SmallOption = Annotated[bool, typer.Option(help="Small inputs and a fixed backbone: minutes on a few cores.")]


@weak_app.command()
def label(
    source: Annotated[Path, typer.Argument(help="Bag, video, or folder of pictures.")],
    keywords: Annotated[
        Path | None, typer.Option(help="YAML or CSV: frame -> keywords. Without: write the frames and a file to fill.")
    ] = None,
    out: OutOption = Path("out/weak"),
    proposals: ProposalsOption = "free",
    topic: TopicOption = None,
    every: Annotated[int, typer.Option(min=1, help="Use each n-th frame of the recording.")] = 1,
    min_area: Annotated[int, typer.Option(min=1, help="Pixels below which a proposal is left out.")] = 64,
    beta: BetaOption = 30.0,
    retention: RetentionOption = 0.95,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make labels for training from recorded frames and their keywords (needs the extras train and weak)."""
    from rtseg.lab.weak.keywords.keywords import read_keywords
    from rtseg.lab.weak.keywords.label import extract_frames
    from rtseg.lab.weak.keywords.label import label as make_labels
    from rtseg.lab.weak.label_report import left_out, write_label_report
    from rtseg.lab.weak.proposals import open_proposals
    from rtseg.lab.weak.recording import TEMPLATE

    settings = replace(_settings(small, beta, retention), every=every, min_area=min_area)
    with _progress() as progress:
        if keywords is None:
            template = extract_frames(source, out, settings, topic, progress).folder / TEMPLATE
        else:
            said = read_keywords(keywords)  # before anything that takes long
            run = make_labels(source, said, out, open_proposals(proposals), settings, topic, progress)
    if keywords is None:
        if as_json:
            print_json({"keywords": template})
            return
        console.print(f"fill in {template} and give it back as --keywords")
        return
    report = write_label_report(run, source.name)
    if as_json:
        print_json({"labels": run.labels, "report": report, "notes": list(left_out(run))})
        return
    for note in left_out(run):
        console.print(note)
    console.print(f"labels: {run.labels} (rtseg train CONFIG --data {run.labels})")
    console.print(f"report: {report}")


@weak_app.command()
def ablate(
    data: Annotated[Path, typer.Argument(help="Labelled set: cityscapes640, Cityscapes, or a COCO file.")],
    out: OutOption = Path("out/ablation"),
    proposals: Annotated[
        str, typer.Option(help="truth (the labels' masks, damaged, and false ones), or as for label.")
    ] = "truth",
    frames: Annotated[int, typer.Option(min=2, help="Frames, evenly from the whole set.")] = 300,
    crop: Annotated[tuple[int, int], typer.Option(min=16, help="Height and width cut out of each frame.")] = (320, 640),
    beta: BetaOption = 30.0,
    retention: RetentionOption = 0.95,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare tags with the truth: random, attention, graph partition without and with filtering (table 1a)."""
    from rtseg.lab.weak.compare.ablation import ablation_table
    from rtseg.lab.weak.compare.ablation_run import run_ablation
    from rtseg.lab.weak.compare.trial import TrialSettings
    from rtseg.lab.weak.label_report import write_label_report

    settings = _settings(small, beta, retention)
    with _progress() as progress:
        run, rows = run_ablation(data, out, proposals, TrialSettings(frames=frames, crop=crop), settings, progress)
    report = write_label_report(run, f"Ablation on {data.name}", rows)
    if as_json:
        print_json({"rows": rows, "report": report})
        return
    console.print(ablation_table(rows))
    console.print(f"report: {report}")


@weak_app.command()
def train(
    run: Annotated[Path, typer.Argument(help="Folder of rtseg weak label.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write: card.yaml and the networks.")],
    config: Annotated[str, typer.Option(help="Training configuration of an instance network.")] = "instances-lite",
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the configuration's.")] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Go on from these weights, whose classes may be others: a model, or a run's safetensors."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train an instance network on labels made of keywords, and make an engine of it (needs the train extra)."""
    from rtseg.lab.weak.keywords.train import train_from_labels

    card = train_from_labels(run, out, config, epochs, start)
    if as_json:
        print_json({"model": out, "card": card})
        return
    console.print(f"card: {card} (rtseg run VIDEO --model {out})")


@weak_app.command()
def compare(
    data: Annotated[
        Path, typer.Argument(help="Labelled set whose frames name their cities: cityscapes640, Cityscapes.")
    ],
    out: OutOption = Path("out/compare"),
    config: Annotated[str, typer.Option(help="Training configuration of an instance network.")] = "gmis-lite",
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each training, not the configuration's.")] = None,
    beta: BetaOption = 30.0,
    retention: RetentionOption = 0.95,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on keywords and on full labels of the same frames, and score both in other cities (table 4)."""
    from rtseg.lab.weak.compare.report import REPORT, comparison_table, write_comparison
    from rtseg.lab.weak.compare.run import compare as run_comparison

    settings = _settings(small, beta, retention)
    with _progress() as progress:
        scores = run_comparison(data, out, config, epochs, settings, progress)
    report = write_comparison(scores, out / REPORT)
    if as_json:
        print_json({"scores": scores, "report": report})
        return
    console.print(comparison_table(scores))
    console.print(f"report: {report}")


@weak_app.command()
def lanes(
    source: Annotated[Path, typer.Argument(help="Bag, video, or folder of pictures in the order they were taken.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write: labels.json, images, sheet.jpg.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Lane model that is the teacher.")] = "lanes-lite",
    topic: TopicOption = None,
    fps: Annotated[float, typer.Option(help="Rate at which the pictures of a folder were taken.")] = 20.0,
    every: Annotated[int, typer.Option(min=1, help="Label at most each n-th frame.")] = 10,
    confidence: Annotated[float, typer.Option(min=0.0, max=1.0, help="Lines less sure are ignored.")] = 0.6,
    as_json: JsonOption = False,
) -> None:
    """Label lanes with a trained model where it agrees with itself, for self-training."""
    from rtseg.lab.data.tusimple import LABELS
    from rtseg.lab.weak.teacher import SHEET, TeacherSettings, label_lanes
    from rtseg.loading import load
    from rtseg.media import open_frames
    from rtseg.media.bags import is_bag

    settings = TeacherSettings(every=every, confidence=confidence)
    rate = fps if source.is_dir() and not is_bag(source) else None
    with _progress() as progress, open_frames(source, topic, rate) as frames:
        summary = label_lanes(frames, load(model), out, settings, lambda done, of: progress("frames", done, of))
    if as_json:
        facts = {"frames": summary.frames, "labelled": summary.labelled, "lines": summary.lines}
        reasons = {"left_out": summary.left_out, "ignored": summary.ignored}
        print_json({**facts, **reasons, "labels": out / LABELS, "sheet": out / SHEET})
        return
    for reason, number in (summary.left_out + summary.ignored).most_common():
        console.print(f"{reason} ({number})")
    seen, lines = counted(summary.frames, "frame"), counted(summary.lines, "line")
    console.print(f"labelled {summary.labelled} of {seen} with {lines}: {out / LABELS}")
    console.print(f"look at {out / SHEET}, then rtseg train CONFIG --data {out}")


def _settings(small: bool, beta: float, retention: float) -> LabelSettings:
    from rtseg.lab.weak.keywords.label import LabelSettings, small_settings

    return replace(small_settings() if small else LabelSettings(), beta=beta, retention=retention)


@contextmanager
def _progress() -> Iterator[StageProgress]:
    """One bar a stage, which appears when the stage begins."""
    tasks: dict[str, TaskID] = {}
    with Bars() as bars:

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield advance


add_to(weak_app, _progress)
