"""``rtseg fleet``: the recordings of many vehicles, on one machine or a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtseg.options import BackendOption, DeviceOption, ModelOption, OutOption, TopicOption, console

fleet_app = typer.Typer(help="Replay, compare and mine the recordings of a fleet.", no_args_is_help=True)


@fleet_app.command("replay")
def fleet_replay(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, patterns or manifests, local or remote.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for the results, seen by all workers.")] = "out/fleet",
    model: ModelOption = "lanes-lite",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; this machine by default.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0 works in this one, without Ray. All cores by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Cores of a worker: decoding, network and grouping.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a worker; a share of one will do.")] = 0.0,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    topic: TopicOption = None,
    shard_seconds: Annotated[float, typer.Option(min=1, help="Longer recordings are cut.")] = 120.0,
    tries: Annotated[int, typer.Option(min=1, help="Crashes after which a shard is given up.")] = 3,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which a shard counts as hung.")] = 3600.0,
    resume: Annotated[bool, typer.Option(help="Keep what is done; else all is done anew.")] = True,
    bags: Annotated[int, typer.Option(min=0, help="Result bags, of the worst recordings.")] = 3,
    fail_on: Annotated[
        Literal["any", "all", "never"], typer.Option(help="Exit with 1 if any, or all, recordings have faults.")
    ] = "any",
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
        console.print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None
    console.print(report.table())
    console.print(f"report: {out}/report.html")
    bad, good = len(report.faults), len(report.recordings)
    failed = {"any": bad > 0, "all": good == 0, "never": False}[fail_on]
    raise typer.Exit(1 if failed else 0)


@fleet_app.command("compare")
def fleet_compare(
    a: Annotated[str, typer.Argument(help="Folder of a fleet replay: what is there.")],
    b: Annotated[str, typer.Argument(help="Folder of another over the same recordings: what is to replace it.")],
    out: OutOption = Path("out/compare"),
    gate: Annotated[
        Path | None, typer.Option(help="YAML list of metric and margin; exit code 1 if B fails it.")
    ] = None,
) -> None:
    """Compare two fleet replays frame by frame; writes a page, and keeps a gate."""
    from rtseg.lab.fleet.compare import compare_jobs, read_gate

    result = compare_jobs(a, b, out, read_gate(gate) if gate else ())
    console.print(result.table())
    console.print(f"report: {out / 'report.html'}")
    raise typer.Exit(0 if result.passed else 1)


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
) -> None:
    """Choose the frames that are most worth labels; writes pictures, labels to begin with, and a page."""
    from rtseg.lab.fleet.mine import mine_frames
    from rtseg.lab.replay.labels_out import FOLDER

    chosen = mine_frames(job, count, out, against, labels)
    console.print(f"{len(chosen)} frames: {out / FOLDER} (correct them, then rtseg train CONFIG --data {out / FOLDER})")
    console.print(f"report: {out / 'report.html'}")
