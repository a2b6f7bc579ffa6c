"""The command line: ``rtseg demo|run|replay|evaluate|bench|train|export|calibrate|doctor``.

Commands only parse, call and print; each imports what it needs when it runs, so that ``rtseg --help`` is quick and a
machine without torch or ROS can use the rest.
"""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from rtseg.errors import ConfigError, RtsegError
from rtseg.weak.commands import weak_app

app = typer.Typer(
    name="rtseg",
    help="Lane and instance masks at camera rate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
calibrate_app = typer.Typer(help="Calibrate cameras and int8 networks.", no_args_is_help=True)
app.add_typer(calibrate_app, name="calibrate")
engines_app = typer.Typer(help="Look after compiled engines.", no_args_is_help=True)
app.add_typer(engines_app, name="engines")
bench_app = typer.Typer(help="Time a model on this machine, or compare results.")
app.add_typer(bench_app, name="bench")
inspect_app = typer.Typer(help="Look at what networks put out.", no_args_is_help=True)
app.add_typer(inspect_app, name="inspect")
app.add_typer(weak_app, name="weak")
console = Console()

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder with card.yaml.")]
BackendOption = Annotated[str, typer.Option(help="auto, tensorrt, torch, onnxruntime or openvino.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or dla on a Jetson.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of the network; all cores by default.")]
NetworkOption = Annotated[str | None, typer.Option(help="Another network of the card, such as model-fp32.onnx.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
TopicOption = Annotated[str | None, typer.Option(help="Image topic of a bag; found by type where there is one.")]


@app.command()
def demo(
    input: Annotated[Path | None, typer.Option(help="Bag or video to drive instead of a rendered road.")] = None,
    out: OutOption = Path("out/demo"),
    task: Annotated[Literal["lanes", "instances", "both"], typer.Option(help="What the node is to find.")] = "lanes",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model of the task; lanes-lite or instances-lite by default.")
    ] = None,
    instances_model: Annotated[str | None, typer.Option(help="Instances' model with --task both.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of the rendered drive.")] = 15.0,
) -> None:
    """Run the whole system live: player, node and recorder in their own processes over DDS."""
    from rtseg.demo import run_demo

    run_demo(input=input, out=out, model=model, seconds=seconds, task=task, instances_model=instances_model)


@app.command()
def run(
    source: Annotated[str, typer.Argument(help="Video, bag, image, folder of images, or a camera's index.")],
    out: OutOption = Path("out/run"),
    model: ModelOption = "lanes-lite",
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Write overlays of a video, pictures or a live camera."""
    from rtseg.evaluation.replay import run_overlays
    from rtseg.media import open_frames
    from rtseg.runtime import load

    with open_frames(source) as frames:
        written = run_overlays(frames, load(model, device=device, backend=backend, threads=threads), out)
    console.print(f"wrote {written}")


@app.command()
def replay(
    bag: Annotated[Path, typer.Argument(help="ROS 1 or ROS 2 bag, or a video.")],
    out: OutOption = Path("out/replay"),
    model: ModelOption = "lanes-lite",
    topic: TopicOption = None,
    realtime: Annotated[
        bool, typer.Option(help="Keep the recorded rate and drop stale frames as the node does.")
    ] = False,
    camera: Annotated[Path | None, typer.Option(help="Camera YAML, where the bag has no camera_info.")] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Run a recorded bag through the pipeline; writes a result bag, an overlay video and a report."""
    from rtseg.camera import Camera
    from rtseg.evaluation.replay import replay as replay_source
    from rtseg.media import open_frames
    from rtseg.runtime import load

    pipeline = load(model, device=device, backend=backend, threads=threads)
    with open_frames(bag, topic=topic) as frames:
        result = replay_source(frames, pipeline, out, realtime=realtime, camera=Camera.load(camera) if camera else None)
    console.print(result.table())
    console.print(f"report: {result.report}")


@app.command()
def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, or one of CULane's lists of frames.")
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
    ablation: Annotated[bool, typer.Option(help="For instances: also score the paper's ablation.")] = False,
    write_card: Annotated[bool, typer.Option(help="Enter the scores into the model's card.")] = False,
    out: OutOption = Path("out/evaluate"),
    model: ModelOption = "lanes-lite",
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    network: NetworkOption = None,
) -> None:
    """Score a model with its field's own measures; writes tables, JSON and a page with the best and worst frames.

    Lanes: TuSimple accuracy, FP and FN, and CULane F1, on pictures labelled as in TuSimple (label lines in *.json) or
    CULane (*.lines.txt; of a whole CULane folder its test set, by category). Instances: Cityscapes AP, COCO AP and AR,
    and PQ, on Cityscapes (gtFine), cityscapes640 or COCO folders.
    """
    from rtseg.evaluation.card_scores import write_scores
    from rtseg.runtime import load

    pipeline = load(model, device=device, backend=backend, threads=threads, network=network)
    if pipeline.card.task == "instances":
        from rtseg.evaluation.instance_report import terminal_tables
        from rtseg.evaluation.instances import evaluate_instances

        if data is None:
            raise ConfigError("expected the folder of labelled frames to score instances on; give it with --data")
        found = evaluate_instances(
            pipeline, data, cities=cities, limit=limit, oracles=oracle or (), ablation=ablation, out=out
        )
        for table in terminal_tables(found):
            console.print(table)
        name, metrics = found.dataset, found.metrics()
    else:
        from rtseg.evaluation.lanes import evaluate_lanes

        result = evaluate_lanes(pipeline, dataset, data, frames=frames, out=out)
        console.print(result.table())
        name, metrics = result.label, result.metrics()
    console.print(f"report: {out / 'report.html'}")
    if write_card:
        arguments = " ".join(shlex.quote(argument) for argument in sys.argv[1:] if argument != "--write-card")
        console.print(f"card: {write_scores(model, name, metrics, f'rtseg {arguments}', network)}")


@bench_app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    model: ModelOption = "lanes-lite",
    width: Annotated[int, typer.Option(min=16)] = 1280,
    height: Annotated[int, typer.Option(min=16)] = 720,
    frames: Annotated[int, typer.Option(min=10, help="Frames to time after the warm-up.")] = 300,
    encoding: Annotated[Literal["bgr8", "jpeg"], typer.Option(help="Of the messages that frames arrive in.")] = "bgr8",
    compare: Annotated[bool, typer.Option("--compare", help="Time plain peers too, and measure the floor.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here, beside other runs of this machine.")
    ] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    network: NetworkOption = None,
) -> None:
    """Time a model on this machine: frames a second, latency by stage, memory and power."""
    if context.invoked_subcommand:
        return
    from rtseg.evaluation.bench import BenchSettings, bench_model

    result = bench_model(
        model, BenchSettings((height, width), frames, encoding, compare, device, backend, threads, network)
    )
    console.print(result.runs[0].table())
    for remark in result.runs[0].remarks():
        console.print(remark, highlight=False)
    if json_file:
        result.write(json_file)


@bench_app.command("compare")
def bench_compare(
    files: Annotated[list[Path], typer.Argument(help="Results files; the first is what others are held against.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("out/bench.html"),
) -> None:
    """Compare results files on one page."""
    from rtseg.evaluation.bench_page import write_comparison
    from rtseg.evaluation.bench_result import BenchFile

    console.print(f"wrote {write_comparison([(path.stem, BenchFile.load(path)) for path in files], out)}")


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="Bundled configuration (lanes-lite, daffnet-lite, gmis-r50, ...) or a YAML file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, logs, weights.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Labelled frames: TuSimple's or CULane's layout for lanes, Cityscapes' or COCO for instances."
        ),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Folders looked at after each epoch; for instances only their held-out cities."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Go on from these weights: a bundled model, a model folder, or a run's safetensors."),
    ] = None,
    rendered: Annotated[
        Path | None, typer.Option(help="Folder of rendered frames, which runs can share; by default in --out.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train a network of lanes or instances (needs the train extra)."""
    from rtseg.training.train import train as train_network

    weights = train_network(
        config, data=data or [], out=out, resume=resume, validation=validation or [], cache=rendered, start=start
    )
    console.print(f"weights: {weights}")


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write: card.yaml and the networks.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Real frames to calibrate int8 with, beside rendered.")
    ] = None,
) -> None:
    """Export a trained network to ONNX, quantise it, and write its card (needs the train extra)."""
    from rtseg.deploy.package import package_model

    card = package_model(run_folder, out, calibration=data or [])
    console.print(f"card: {card}")


@app.command("compile")
def compile_engine(
    model: Annotated[str, typer.Argument(help="Bundled model or folder with card.yaml.")],
    precision: Annotated[Literal["fp32", "fp16", "int8"], typer.Option(help="Of the engine.")] = "fp16",
    target: Annotated[str, typer.Option(help="current, or a compute capability such as sm89.")] = "current",
    dla: Annotated[
        bool, typer.Option(help="For the deep learning accelerator of a Jetson; --device dla loads it.")
    ] = False,
    workspace: Annotated[int | None, typer.Option(min=1, help="Most scratch memory of a layer, MiB.")] = None,
) -> None:
    """Compile a TensorRT engine into the cache, so that the first start of the node does not have to."""
    from rich.progress import Progress

    from rtseg.runtime import find_model
    from rtseg.runtime.tensorrt import compile_model

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"compiling {model} for {target} in {precision}", total=1.0)
        engine, record = compile_model(
            find_model(model),
            precision,
            target,
            workspace_mib=workspace,
            dla=dla,
            progress=lambda fraction: progress.update(task, completed=fraction),
        )
    console.print(f"{engine}\n{record.engine_bytes / 1e6:.1f} MB, built {record.built} in {record.build_seconds:.1f} s")


@engines_app.command("list")
def engines_list() -> None:
    """List the engines in the cache."""
    from rtseg.runtime.tensorrt import cache_folder, list_engines
    from rtseg.runtime.tensorrt.table import engine_table

    console.print(engine_table(list_engines()))
    console.print(f"in {cache_folder()}")


@engines_app.command("verify")
def engines_verify() -> None:
    """Check every engine against its sidecar; exit code 1 if one is broken."""
    from rtseg.runtime.tensorrt import list_engines

    broken = [state for state in list_engines() if state.fault]
    for state in broken:
        console.print(f"[red]{state.path.name}[/red]: {state.fault}")
    console.print(f"{len(broken)} broken")
    raise typer.Exit(1 if broken else 0)


@engines_app.command("prune")
def engines_prune() -> None:
    """Delete engines that are broken or belong to no bundled model as it is now."""
    from rtseg.runtime import bundled_models, find_model
    from rtseg.runtime.tensorrt import prune_engines

    cards = [find_model(name).card for name in bundled_models()]
    wanted = {file.sha256 for card in cards for file in card.files}
    for path in prune_engines(wanted):
        console.print(f"deleted {path.name}")


@inspect_app.command("affinity")
def inspect_affinity(
    file: Annotated[Path, typer.Argument(help=".npz with affinity (K, H, W), offsets (K, 2) and perhaps mask (H, W).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")] = Path("out/affinity.png"),
) -> None:
    """Draw affinities, the order of merging and the result."""
    from rtseg.evaluation.inspect import inspect_affinity as inspect

    console.print(f"wrote {inspect(file, out)}")


@calibrate_app.command("camera")
def calibrate_camera(
    images: Annotated[Path, typer.Argument(help="Folder of chessboard pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Camera YAML to write.")] = Path("camera.yaml"),
    columns: Annotated[int, typer.Option(min=3, help="Inner corners along the board.")] = 9,
    rows: Annotated[int, typer.Option(min=3, help="Inner corners across the board.")] = 6,
    square: Annotated[float, typer.Option(min=1e-4, help="Side of a square in metres.")] = 0.025,
) -> None:
    """Calibrate a camera from chessboard pictures."""
    from rtseg.camera import calibrate_chessboard
    from rtseg.media import open_frames

    with open_frames(images) as frames:
        result = calibrate_chessboard([frame.image for frame in frames], board=(columns, rows), square=square)
    result.camera.save(out)
    for index, reason in result.rejected.items():
        console.print(f"picture {index + 1} left out: {reason}")
    console.print(f"{len(result.used)} boards, reprojection error {result.rms:.2f} px rms")
    console.print(f"wrote {out}; say in rtseg_extrinsics how the camera is mounted")


@calibrate_app.command("int8")
def calibrate_int8_command(
    model: Annotated[str, typer.Argument(help="Bundled model or folder with card.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")],
    data: Annotated[list[Path] | None, typer.Option(help="Bags, videos or folders of frames.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Do a calibration again, such as calibration/int8/lanes-lite.yaml.")
    ] = None,
    rendered: Annotated[int | None, typer.Option(min=0, help="Frames to render, beside --data.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Most frames to draw from each --data.")] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(help="Labelled frames for the metric, as for evaluate; rendered by default."),
    ] = None,
    recipes: Annotated[Path, typer.Option(help="Folder for the recipe and the report.")] = Path("calibration/int8"),
) -> None:
    """Quantise a model; it is written only if it keeps its metric (extras: train, for instances also scores)."""
    from rtseg.deploy.calibrate import calibrate_int8
    from rtseg.deploy.recipe import Recipe, Settings

    before = Recipe.load(recipe) if recipe else None
    asked = {name: value for name, value in (("rendered", rendered), ("frames", frames)) if value is not None}
    settings = (before.settings if before else Settings()).model_copy(update=asked)
    result = calibrate_int8(model, data or [], out, settings, evaluation=evaluate, recipes=recipes, progress=True)
    for file, value in result.values.items():
        console.print(f"{file}: {result.metric} {100 * value:.2f} % on {result.dataset}")
    console.print(f"layers left in float: {', '.join(result.in_float) or 'none'}")
    if before:
        same = before.same_files({file.file: file.sha256 for file in result.card.files})
        if same is not None:
            console.print("the recipe's files, bit for bit" if same else "other files than the recipe's")
    console.print(f"wrote {out}; report: {recipes / result.card.name}.html", highlight=False)


@app.command()
def doctor(
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="All bundled models by default.")] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what this machine has, which backend each model would use, and why not a faster one.

    Exit code 1 if something that was asked for cannot work: a model, --device, --backend, or what an environment
    variable names.
    """
    from rtseg.runtime.doctor import examine

    report = examine(model or [], device, backend)
    if as_json:
        typer.echo(report.json())
    else:
        for table in report.tables():
            console.print(table)
    raise typer.Exit(0 if report.healthy else 1)


def main() -> None:
    """Entry point: typed errors become one sentence and exit code 2, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app()
    except RtsegError as error:
        Console(stderr=True).print(f"[red]rtseg:[/red] {error}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
