"""``rtseg bench``: frames a second on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtseg.options import BackendOption, DeviceOption, ModelOption, NetworkOption, ThreadsOption
from rtseg.printing import console, print_json

bench_app = typer.Typer(help="Time a model on this machine, or compare results.")


@bench_app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    model: ModelOption = "lanes-lite",
    width: Annotated[int, typer.Option(min=32, max=8192, help="Of the frames, pixels.")] = 1280,
    height: Annotated[int, typer.Option(min=32, max=8192, help="Of the frames, pixels.")] = 720,
    frames: Annotated[int, typer.Option(min=10, max=1_000_000, help="Frames to time after the warm-up.")] = 300,
    encoding: Annotated[Literal["bgr8", "jpeg"], typer.Option(help="Of the messages that frames arrive in.")] = "bgr8",
    compare: Annotated[bool, typer.Option("--compare", help="Time plain peers too, and measure the floor.")] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures here, beside other runs of this machine; - prints them."),
    ] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    network: NetworkOption = None,
) -> None:
    """Time a model on this machine: frames a second, latency by stage, memory and power."""
    if context.invoked_subcommand:
        return
    from rtseg.lab.bench.result import BenchFile
    from rtseg.lab.bench.run import BenchSettings, bench_model

    settings = BenchSettings((height, width), frames, encoding, compare, device, backend, threads, network)
    file = None if json_file == Path("-") else json_file
    if file is not None:
        BenchFile.before(file)
    result = bench_model(model, settings, keep=None if file is None else lambda found: found.write(file))
    if json_file is not None and file is None:
        print_json(result)
        return
    console.print(result.runs[0].table())
    for remark in result.runs[0].remarks():
        console.print(remark)
    if file is not None:
        result.write(file)


@bench_app.command("compare")
def bench_compare(
    files: Annotated[list[Path], typer.Argument(help="Results files; the first is what others are held against.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("out/bench.html"),
) -> None:
    """Compare results files on one page."""
    from rtseg.lab.bench.page import write_comparison
    from rtseg.lab.bench.result import BenchFile

    console.print(f"wrote {write_comparison([(path.stem, BenchFile.load(path)) for path in files], out)}")
