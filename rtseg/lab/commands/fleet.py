"""``rtseg fleet``: the recordings of many vehicles, on one machine or a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rtseg.options import BackendOption, DeviceOption, JsonOption, ModelOption, OutOption, TopicOption, console
from rtseg.printing import print_json

fleet_app = typer.Typer(help="Replay, compare, mine and label the recordings of a fleet.", no_args_is_help=True)


SourcesArgument = Annotated[list[str], typer.Argument(help="Files, folders, patterns or manifests, local or remote.")]
AddressOption = Annotated[str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; this machine by default.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="Processes; 0 works in this one, without Ray. All cores by default.")
]
CoresOption = Annotated[int, typer.Option(min=1, help="Cores of a worker: decoding, network and grouping.")]
GpusOption = Annotated[float, typer.Option(min=0, help="GPUs of a worker; a share of one will do.")]
ShardOption = Annotated[float, typer.Option(min=1, help="Longer recordings are cut.")]
TriesOption = Annotated[int, typer.Option(min=1, help="Crashes after which a shard is given up.")]
TimeoutOption = Annotated[float, typer.Option(min=1, help="Seconds after which a shard counts as hung.")]
ResumeOption = Annotated[bool, typer.Option(help="Keep what is done; else all is done anew.")]
FailOption = Annotated[
    Literal["any", "all", "never"], typer.Option(help="Exit with 1 if any, or all, recordings have faults.")
]


@fleet_app.command("replay")
def fleet_replay(
    sources: SourcesArgument,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for the results, seen by all workers.")] = "out/fleet",
    model: ModelOption = "lanes-lite",
    address: AddressOption = None,
    workers: WorkersOption = None,
    threads: CoresOption = 1,
    gpus: GpusOption = 0.0,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    topic: TopicOption = None,
    shard_seconds: ShardOption = 120.0,
    tries: TriesOption = 3,
    timeout: TimeoutOption = 3600.0,
    resume: ResumeOption = True,
    bags: Annotated[int, typer.Option(min=0, help="Result bags, of the worst recordings.")] = 3,
    fail_on: FailOption = "any",
    as_json: JsonOption = False,
) -> None:
    """Run the recordings of a fleet through a model; rows as Parquet, one page. Goes on where it was stopped."""
    from rtseg.lab.fleet.replay import replay_fleet

    try:
        report = replay_fleet(
            sources,
            out,
            model,
            address=address,
            workers=workers,
            threads=threads,
            gpus=gpus,
            device=device,
            backend=backend,
            topic=topic,
            shard_seconds=shard_seconds,
            tries=tries,
            timeout=timeout,
            resume=resume,
            bags=bags,
        )
    except KeyboardInterrupt:
        raise _stopped() from None
    if as_json:
        named = [{"recording": uri, "reason": reason} for uri, reason in report.faults]
        print_json({"recordings": len(report.recordings), "figures": report.all.figures(), "faults": named})
    else:
        console.print(report.table())
        console.print(f"report: {out}/report.html")
    raise _ended(fail_on, len(report.faults), len(report.recordings))


def _stopped() -> typer.Exit:
    console.print("stopped; the same command goes on from here")
    return typer.Exit(130)


def _ended(fail_on: str, bad: int, good: int) -> typer.Exit:
    failed = {"any": bad > 0, "all": good == 0, "never": False}[fail_on]
    return typer.Exit(1 if failed else 0)


@fleet_app.command("compare")
def fleet_compare(
    a: Annotated[str, typer.Argument(help="What is there: folder of a fleet replay, or with SOURCES a model.")],
    b: Annotated[str, typer.Argument(help="What is to replace it: another replay, or with SOURCES another model.")],
    sources: Annotated[list[str] | None, typer.Argument(help="Recordings to replay through both models.")] = None,
    out: OutOption = Path("out/compare"),
    gate: Annotated[
        Path | None, typer.Option(help="YAML list of metric and margin; exit code 1 if B fails it.")
    ] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    threads: CoresOption = 1,
    gpus: GpusOption = 0.0,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    topic: TopicOption = None,
    shard_seconds: ShardOption = 120.0,
    tries: TriesOption = 3,
    timeout: TimeoutOption = 3600.0,
    resume: ResumeOption = True,
    fail_on: FailOption = "any",
    as_json: JsonOption = False,
) -> None:
    """Compare two fleet replays, or two models over SOURCES, frame by frame; writes a page, and keeps a gate."""
    from rtseg.lab.fleet.compare import compare_jobs, read_gate
    from rtseg.lab.fleet.compare_models import compare_models

    rules = read_gate(gate) if gate else ()
    if sources:
        try:
            result = compare_models(
                a,
                b,
                sources,
                out,
                rules,
                address=address,
                workers=workers,
                threads=threads,
                gpus=gpus,
                device=device,
                backend=backend,
                topic=topic,
                shard_seconds=shard_seconds,
                tries=tries,
                timeout=timeout,
                resume=resume,
            )
        except KeyboardInterrupt:
            raise _stopped() from None
    else:
        result = compare_jobs(a, b, out, rules)
    if as_json:
        print_json(result)
    else:
        console.print(result.table())
        console.print(f"report: {out / 'report.html'}")
    if not result.passed:
        raise typer.Exit(1)
    raise _ended(fail_on, len(result.faults), result.recordings)


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
    console.print(f"{len(chosen)} frames: {out / FOLDER} (correct them, then rtseg train CONFIG --data {out / FOLDER})")
    console.print(f"report: {out / 'report.html'}")


@fleet_app.command("label")
def fleet_label(
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
    address: AddressOption = None,
    workers: WorkersOption = None,
    threads: CoresOption = 1,
    gpus: GpusOption = 0.0,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    topic: TopicOption = None,
    shard_seconds: ShardOption = 120.0,
    tries: TriesOption = 3,
    timeout: TimeoutOption = 3600.0,
    resume: ResumeOption = True,
    fail_on: FailOption = "any",
) -> None:
    """Make labels for training without a person; needs the extras train and weak for keywords."""
    from rtseg.lab.fleet.label import label_fleet, name_objects
    from rtseg.lab.fleet.label_worker import LabelSettings
    from rtseg.lab.fleet.settings import model_hash
    from rtseg.lab.weak.keywords.keywords import read_keywords
    from rtseg.runtime import find_model

    if keywords is not None:
        by = "keywords"
        read_keywords(keywords)  # before anything that takes long
    common = {"topic": topic, "device": device, "backend": backend, "shard_seconds": shard_seconds, "lead_in": 0.0}
    chosen: dict[str, Any] = {"proposals": proposals, "min_area": min_area, "model": "", "model_hash": ""}
    if by == "teacher":
        chosen = {"confidence": confidence, "model": model, "model_hash": model_hash(find_model(model).card)}
    settings = LabelSettings(by=by, every=every, **common, **chosen)
    try:
        made = label_fleet(
            sources,
            out,
            settings,
            address=address,
            workers=workers,
            threads=threads,
            gpus=gpus,
            tries=tries,
            timeout=timeout,
            resume=resume,
        )
    except KeyboardInterrupt:
        raise _stopped() from None
    what = "lines" if by == "teacher" else "proposals"
    console.print(f"{made.pictures} pictures of {made.recordings} recordings with {made.labels} {what}: {out}")
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
    raise _ended(fail_on, len(made.faults), made.recordings)
