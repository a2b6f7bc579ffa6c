"""The command line: the product's own commands, and those that other parts register.

Commands only parse, call and print; each imports what it needs when it runs, so that ``rtseg --help`` is quick and a
machine without torch or ROS can use the rest. Parts that the product must not know of (the desk, the ROS package) name
a function ``register(app)`` as entry point of the group ``rtseg.commands``.
"""

from __future__ import annotations

import logging
import os
import re
import signal
from importlib.metadata import entry_points, requires
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from rich.progress import TaskID
from rich.text import Text

from rtseg.counted import counted
from rtseg.errors import MORE_MEMORY, ConfigError, RtsegError, lacks_memory
from rtseg.files import FULL
from rtseg.model_commands import models_app
from rtseg.options import BackendOption, DeviceOption, JsonOption, QuietGroup
from rtseg.printing import (
    PlainConsole,
    VisibleFormatter,
    be_quiet,
    console,
    described,
    print_json,
    visible,
)

app = typer.Typer(
    name="rtseg",
    cls=QuietGroup,
    help="Lane and instance masks at camera rate.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done; 1 done, but what was asked for does not hold (a model that cannot run, a gate, damaged "
    "recordings); 2 wrong input, told in one sentence; 130, 143 ended by a signal.",
)
for _part in sorted(entry_points(group="rtseg.commands"), key=lambda part: part.name):
    _part.load()(app)
engines_app = typer.Typer(help="Look after compiled engines.", no_args_is_help=True)
app.add_typer(engines_app, name="engines")
app.add_typer(models_app, name="models")

_FIRST_STEPS = """\
rtseg: lane and instance masks at camera rate. What to do first:

  rtseg run drive.mp4       lanes drawn over your video, picture, folder of pictures or camera (0)
  rtseg replay drive.mcap   a recorded bag through the pipeline: result bag, overlay video, report
  rtseg doctor              what this machine has, and what would make it faster

rtseg --help names every command, rtseg COMMAND --help its options; --model instances-lite finds objects."""


@app.callback()
def first_steps(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Lane and instance masks at camera rate."""
    if version:
        import rtseg

        console.print(rtseg.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(Text(_FIRST_STEPS))


@app.command("compile")
def compile_engine(
    model: Annotated[str, typer.Argument(help="Bundled model or folder with card.yaml.")],
    precision: Annotated[Literal["fp32", "fp16", "int8"], typer.Option(help="Of the engine.")] = "fp16",
    target: Annotated[str, typer.Option(help="current, or a compute capability such as sm89.")] = "current",
    dla: Annotated[
        bool, typer.Option(help="For the deep learning accelerator of a Jetson; --device dla loads it.")
    ] = False,
    workspace: Annotated[int | None, typer.Option(min=1, help="Most scratch memory of a layer, MiB.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a TensorRT engine into the cache, so that the first start of the node does not have to."""
    from rtseg.progress import Bars
    from rtseg.runtime import find_model
    from rtseg.runtime.tensorrt import compile_model

    with Bars(counted=False, transient=True) as progress:
        task = progress.add_task(f"compiling {described(model)} for {target} in {precision}", total=1.0)
        engine, record = compile_model(
            find_model(model),
            precision,
            target,
            workspace_mib=workspace,
            dla=dla,
            progress=lambda fraction: progress.update(task, completed=fraction),
        )
    if as_json:
        facts = {"built": record.built, "bytes": record.engine_bytes, "seconds": record.build_seconds}
        print_json({"engine": engine, **facts})
        return
    console.print(engine)
    console.print(f"{record.engine_bytes / 1e6:.1f} MB, built {record.built} in {record.build_seconds:.1f} s")


@app.command()
def prepare(
    models: Annotated[
        list[str] | None, typer.Argument(help="Bundled models or folders; lanes-lite and instances-lite by default.")
    ] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compile the kernels that models need, once, so that the first start of the node does not have to.

    Run it after installation and after each update, as the user that runs the node (or with NUMBA_CACHE_DIR set for
    both): compiled code is kept beside the library where that can be written, else in the user's cache. Exit code 1 if
    it cannot be kept.
    """
    import time

    from rtseg.compiled import unkept
    from rtseg.loading import load
    from rtseg.progress import Bars
    from rtseg.runtime.compilation import warm_up_told

    prepared = []
    for name in models or ["lanes-lite", "instances-lite"]:
        start = time.monotonic()
        with Bars(transient=True) as bars:
            task = bars.add_task(f"preparing {described(name)}", total=None)

            def tell(count: int, kernel: str, name: str = name, bars: Bars = bars, task: TaskID = task) -> None:
                told = f"preparing {described(name)}: compiling kernel {described(kernel)}"
                bars.update(task, description=told, completed=count, refresh=True)

            pipeline = load(name, device=device, backend=backend)
            compiled = warm_up_told(pipeline, tell)
            pipeline.close()
        seconds = time.monotonic() - start
        prepared.append({"model": name, "kernels": compiled, "seconds": seconds})
        if not as_json:
            console.print(f"{name}: {counted(compiled, 'kernel')} compiled in {seconds:.0f} s")
    if as_json:
        print_json(prepared)
    if unkept:  # which was told when it came to light
        raise typer.Exit(1)


@engines_app.command("list")
def engines_list(as_json: JsonOption = False) -> None:
    """List the engines in the cache."""
    from rtseg.runtime.tensorrt import cache_folder, list_engines
    from rtseg.runtime.tensorrt.table import engine_table

    engines = list_engines()
    if as_json:
        print_json({"folder": cache_folder(), "engines": engines})
        return
    console.print(engine_table(engines))
    console.print(f"in {cache_folder()}")


@engines_app.command("verify")
def engines_verify(as_json: JsonOption = False) -> None:
    """Check every engine against its sidecar; exit code 1 if one is broken."""
    from rtseg.runtime.tensorrt import list_engines

    broken = [state for state in list_engines() if state.fault]
    if as_json:
        print_json([{"engine": state.path, "fault": state.fault} for state in broken])
        raise typer.Exit(1 if broken else 0)
    for state in broken:
        console.print(f"{state.path.name}: {state.fault}", style="red")
    console.print(f"{len(broken)} broken")
    raise typer.Exit(1 if broken else 0)


@engines_app.command("prune")
def engines_prune(as_json: JsonOption = False) -> None:
    """Delete engines that are broken or belong to no bundled model as it is now."""
    from rtseg.runtime import bundled_models, find_model
    from rtseg.runtime.tensorrt import prune_engines

    cards = [find_model(name).card for name in bundled_models()]
    wanted = {file.sha256 for card in cards for file in card.files}
    deleted = prune_engines(wanted)
    if as_json:
        print_json({"deleted": deleted})
        return
    for path in deleted:
        console.print(f"deleted {path.name}")
    console.print(f"{len(deleted)} deleted")


@app.command()
def doctor(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Bundled model or folder; repeat for more. All bundled ones by default."),
    ] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    card: Annotated[
        bool, typer.Option("--card", help="Test the card itself with one model, for a report of a fault.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for doctor.html and doctor.json; with --card out/doctor by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what this machine has, which backend each model would use, and why not a faster one.

    Exit code 1 if something that was asked for cannot work: a model, --device, --backend, or what an environment
    variable names. With --card: kernels beside the CPU's, graphs, copies, the same frame many times, threads, memory,
    time by stage; written to card.json and card.html, which belong into a report; exit code 1 if a step went wrong.
    """
    if card:
        raise typer.Exit(_test_card(model or ["instances-lite"], device, backend, out or Path("out/doctor"), as_json))
    from rtseg.doctor.examination import examine
    from rtseg.files import write_text

    report = examine(model or [], device, backend)
    if out:
        write_text(out / "doctor.json", report.json())
        write_text(out / "doctor.html", report.html())
    if as_json:
        typer.echo(report.json())
    else:
        for table in report.tables():
            console.print(table)
        if out:
            console.print(f"report: {out / 'doctor.html'}")
    raise typer.Exit(0 if report.healthy else 1)


def _test_card(models: list[str], device: str, backend: str, out: Path, as_json: bool) -> int:
    """Test a card, write the report, and give the exit code."""
    from rtseg.doctor.examination import examine_card
    from rtseg.files import write_text

    if len(models) > 1:
        raise ConfigError(f"expected one model for --card, got {', '.join(models)}")
    report = examine_card(models[0], device, backend)
    write_text(out / "card.json", report.json())
    write_text(out / "card.html", report.html())
    if as_json:
        typer.echo(report.json())
    else:
        for step in report.steps:
            mark = ("well", "green") if step.fault is None else ("fault", "red")
            console.print(Text.assemble(mark, f" {step.name} ({step.seconds:.1f} s) {visible(step.fault or '')}"))
        console.print(f"report: {out / 'card.html'}, {out / 'card.json'}")
    return 1 if report.faults else 0


_ended: list[int] = []
"""Signals that end this process."""


def main() -> None:
    """Entry point: typed errors become one sentence and exit code 2, never a traceback; a signal ends it in order."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # nohup, say, has SIGHUP ignored, which stays so.
    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in heard:
        signal.signal(number, _end)
    try:
        app()
    except Exception as error:
        if _ended:  # what breaks on the way out, workers that got the signal too, is no news
            raise SystemExit(128 + _ended[0]) from None
        if _was_interrupted(error):
            raise SystemExit(128 + signal.SIGINT) from None
        # Names, disks and rights are the system's, and its errors say all there is to say.
        if isinstance(error, OSError) and error.filename is None:
            told = _of_no_file(error)
        else:
            told = str(error) if isinstance(error, RtsegError | OSError) else _not_installed(error) or _no_memory(error)
        if not told:
            raise
        PlainConsole(stderr=True).print(Text.assemble(("rtseg: ", "red"), visible(told)))
        raise SystemExit(2) from None
    finally:
        # Wherever this is called from, --quiet and ends in order are for one command.
        be_quiet(False)
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: of one that comes as a compiled loop is called, Python makes a SystemError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _of_no_file(error: OSError) -> str:
    """What an error of the system says that names no file: it was the folder that all is in, or standard output."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "expected a folder to run in, got one that has been removed meanwhile; change into another (cd)"
    if error.errno in FULL:
        return f"expected to write, got {error.strerror}; check the disks, and what standard output goes to"
    return str(error)


def _not_installed(error: Exception) -> str:
    """Which declared package is missing, and what installs it; empty for any other error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    declared = [re.match(r"([\w.-]+)(?:.*\bextra == ['\"]([\w-]+)['\"])?", each) for each in requires("rtseg") or ()]
    extras = {each[2] for each in declared if each and each[1].replace("-", "_").lower() == package.lower()}
    if not extras:
        return ""
    public = sorted(extras - {"dev", None})
    cure = f"'rtseg[{public[0]}]'" if len(public) == 1 and None not in extras else package
    return f"this needs the package {package}, which is not installed: pip install {cure}"


def _no_memory(error: Exception) -> str:
    """What an error of whatever library says where memory does not suffice; empty for any other."""
    said = " ".join(str(error).split())
    return f"expected more memory than is left{f' ({said})' * bool(said)}; {MORE_MEMORY}" if lacks_memory(error) else ""


def _end(number: int, _: FrameType | None) -> None:
    """Leave through every ``finally`` on the way, so that nothing unfinished stays; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    _ended.append(number)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
