"""``rtseg fleet``: the recordings of many vehicles, on one machine or a cluster."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from rtseg.counted import counted
from rtseg.options import BackendOption, DeviceOption, JsonOption, ModelOption, OutOption, TopicOption
from rtseg.printing import console, print_json, remarks_console

fleet_app = typer.Typer(help="Replay, compare, mine and label the recordings of a fleet.", no_args_is_help=True)


SourcesArgument = Annotated[list[str], typer.Argument(help="Files, folders, patterns or manifests, local or remote.")]
RemoteOutOption = Annotated[
    str, typer.Option("--out", "-o", help="Folder for the results, local or remote, seen by all workers.")
]


@dataclass(frozen=True)
class JobOptions:
    """What every command that works through recordings is told of where and how it does so."""

    address: Annotated[str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; this machine by default.")] = None
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0 works in this one, without Ray. All cores by default.")
    ] = None
    threads: Annotated[int, typer.Option(min=1, help="Cores of a worker: decoding, network and grouping.")] = 1
    gpus: Annotated[float, typer.Option(min=0.0, max=64.0, help="GPUs of a worker; a share of one will do.")] = 0.0
    device: DeviceOption = "auto"
    backend: BackendOption = "auto"
    topic: TopicOption = None
    shard_seconds: Annotated[
        float, typer.Option(min=1.0, max=1e9, help="Recordings that are longer are cut into parts.")
    ] = 120.0
    tries: Annotated[int, typer.Option(min=1, help="Crashes after which a shard is given up.")] = 3
    timeout: Annotated[float, typer.Option(min=1.0, max=1e9, help="Seconds after which a shard counts as hung.")] = (
        3600.0
    )
    resume: Annotated[bool, typer.Option(help="Keep what is done; else all is done anew.")] = True
    fail_on: Annotated[
        Literal["any", "all", "never"], typer.Option(help="Exit with 1 if any, or all, recordings have faults.")
    ] = "any"

    def settings(self, *names: str) -> dict[str, Any]:
        """Those of these names, all but `fail_on` by default, by name."""
        return {name: value for name, value in vars(self).items() if name in names or (not names and name != "fail_on")}

    def ended(self, bad: int, good: int) -> typer.Exit:
        """How a command ends, by its recordings with faults and those with results."""
        failed = {"any": bad > 0, "all": good == 0, "never": False}[self.fail_on]
        return typer.Exit(1 if failed else 0)


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :class:`JobOptions`, which it gets as its argument `job`.

    It ends cleanly on Ctrl-C: what is done is kept.
    """
    hints = get_type_hints(JobOptions, include_extras=True)
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "job"]
    shared = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
        for one in fields(JobOptions)
    ]

    @wraps(command)
    def run(**values: Any) -> None:
        job = JobOptions(**{one.name: values.pop(one.name) for one in fields(JobOptions)})
        try:
            command(**values, job=job)
        except KeyboardInterrupt:
            remarks_console.print("stopped; the same command goes on from here")
            raise typer.Exit(130) from None

    parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *shared]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


@fleet_app.command("replay")
@with_job_options
def fleet_replay(
    job: JobOptions,
    sources: SourcesArgument,
    out: RemoteOutOption = "out/fleet",
    model: ModelOption = "lanes-lite",
    bags: Annotated[int, typer.Option(min=0, help="Result bags, of the worst recordings.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Run the recordings of a fleet through a model; rows as Parquet, one page. Goes on where it was stopped."""
    from rtseg.lab.fleet.replay import replay_fleet

    report = replay_fleet(sources, out, model, bags=bags, **job.settings())
    if as_json:
        faults, damaged = ([{"recording": uri, "reason": reason} for uri, reason in told] for told in report.told)
        figures = report.all.figures()
        print_json({"recordings": report.good, "figures": figures, "faults": faults, "damaged": damaged})
    else:
        console.print(report.table())
        console.print(f"report: {out}/report.html")
    raise job.ended(report.bad, report.good)


@fleet_app.command("compare")
@with_job_options
def fleet_compare(
    job: JobOptions,
    a: Annotated[str, typer.Argument(help="What is there: folder of a fleet replay, or with SOURCES a model.")],
    b: Annotated[str, typer.Argument(help="What is to replace it: another replay, or with SOURCES another model.")],
    sources: Annotated[list[str] | None, typer.Argument(help="Recordings to replay through both models.")] = None,
    out: RemoteOutOption = "out/compare",
    gate: Annotated[
        Path | None, typer.Option(help="YAML list of metric and margin; exit code 1 if B fails it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two fleet replays, or two models over SOURCES, frame by frame; writes a page, and keeps a gate."""
    from rtseg.lab.fleet.compare import compare_jobs, read_gate
    from rtseg.lab.fleet.compare_models import compare_models

    rules = read_gate(gate) if gate else ()
    result = compare_models(a, b, sources, out, rules, **job.settings()) if sources else compare_jobs(a, b, out, rules)
    if as_json:
        print_json(result)
    else:
        console.print(result.table())
        console.print(f"report: {out}/report.html")
    if not result.passed:
        raise typer.Exit(1)
    raise job.ended(len({uri for uri, _ in result.faults}), result.recordings)


@fleet_app.command("mine")
def fleet_mine(
    job: Annotated[str, typer.Argument(help="Folder of a fleet replay.")],
    count: Annotated[int, typer.Option(min=1, help="Frames to choose.")] = 500,
    out: OutOption = Path("out/mined"),
    against: Annotated[str | None, typer.Option(help="Another replay of the recordings, by another model.")] = None,
    labels: Annotated[
        Literal["tusimple", "culane", "coco", "labelme", "cvat"] | None,
        typer.Option(help="Kind of the labels to begin with; tusimple for lanes and coco for objects by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the frames that are most worth labels; writes pictures, labels to begin with, and a page."""
    from rtseg.lab.fleet.mine import mine_frames
    from rtseg.lab.replay.labels_out import FOLDER

    chosen = mine_frames(job, count, out, against, labels)
    if as_json:
        print_json({"frames": len(chosen), "labels": out / FOLDER, "report": out / "report.html"})
        return
    console.print(
        f"{counted(len(chosen), 'frame')}: {out / FOLDER} (correct them, then rtseg train CONFIG --data {out / FOLDER})"
    )
    console.print(f"report: {out / 'report.html'}")


@fleet_app.command("label")
@with_job_options
def fleet_label(
    job: JobOptions,
    sources: SourcesArgument,
    out: OutOption = Path("out/labels"),
    keywords: Annotated[
        Path | None,
        typer.Option(help="YAML or CSV: picture -> keywords. Name objects by them, as rtseg weak label does."),
    ] = None,
    by: Annotated[
        Literal["teacher", "keywords"],
        typer.Option(help="Lanes that a model is sure of, or objects that keywords name; --keywords means keywords."),
    ] = "teacher",
    model: ModelOption = "lanes-lite",
    every: Annotated[int, typer.Option(min=1, help="Label at most each n-th frame.")] = 10,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Lines less sure are ignored.")] = 0.6,
    proposals: Annotated[
        str, typer.Option(help="Where objects come from: free, a folder of PNG masks, or a model.")
    ] = "free",
    min_area: Annotated[int, typer.Option(min=1, help="Pixels below which an object is left out.")] = 64,
    small: Annotated[bool, typer.Option(help="Small inputs and a fixed backbone: minutes on a few cores.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make labels for training without a person; needs the extras train and weak for keywords."""
    from rtseg.lab.fleet.label import label_fleet, label_settings, name_objects
    from rtseg.lab.weak.keywords.keywords import read_keywords

    if keywords is not None:
        by = "keywords"
        read_keywords(keywords)  # before anything that takes long
    by_keywords: dict[str, Any] = {"proposals": proposals, "min_area": min_area}
    how = {"confidence": confidence, "model": model} if by == "teacher" else by_keywords
    known = job.settings("topic", "device", "backend", "shard_seconds")
    settings = label_settings(by=by, every=every, **how, **known)
    used = job.settings("address", "workers", "threads", "gpus", "tries", "timeout", "resume")
    made = label_fleet(sources, out, settings, **used)
    what = "line" if by == "teacher" else "proposal"
    ended = job.ended(len({uri for uri, _ in made.faults}), made.recordings)
    if as_json:
        labels = name_objects(made, keywords, small) if keywords is not None else None
        faults = [{"recording": uri, "reason": reason} for uri, reason in made.faults]
        facts = {"recordings": made.recordings, "pictures": made.pictures, f"{what}s": made.labels, "faults": faults}
        print_json({**facts, "labels": labels or out, "report": out / "report.html"})
        raise ended
    pictures, recordings = counted(made.pictures, "picture"), counted(made.recordings, "recording")
    console.print(f"{pictures} of {recordings} with {counted(made.labels, what)}: {out}")
    for uri, reason in made.faults[:20]:
        console.print(f"{uri}: {reason}")
    console.print(f"report: {out / 'report.html'}")
    if by == "teacher":
        console.print(f"look at it, then rtseg train CONFIG --data {out}")
    elif keywords is None:
        console.print(f"fill in {out / 'keywords.csv'} and give it back as --keywords")
    else:
        labels = name_objects(made, keywords, small)
        console.print(f"labels: {labels} (rtseg train CONFIG --data {labels})")
    raise ended
