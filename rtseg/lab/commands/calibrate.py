"""``rtseg calibrate``: cameras from chessboards, int8 networks from frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtseg.counted import counted
from rtseg.errors import ConfigError
from rtseg.files import check_outputs
from rtseg.options import JsonOption, TopicOption
from rtseg.printing import console, print_json
from rtseg.progress import Bars

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rtseg.frame import Frame

calibrate_app = typer.Typer(help="Calibrate cameras and int8 networks.", no_args_is_help=True)


@calibrate_app.command("camera")
def calibrate_camera(
    images: Annotated[Path, typer.Argument(help="Folder of chessboard pictures, or a video or a bag of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Camera YAML to write.")] = Path("camera.yaml"),
    columns: Annotated[int, typer.Option(min=3, help="Inner corners along the board.")] = 9,
    rows: Annotated[int, typer.Option(min=3, help="Inner corners across the board.")] = 6,
    square: Annotated[float, typer.Option(min=1e-4, max=100, help="Side of a square in metres.")] = 0.025,
    topic: TopicOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate a camera from chessboard pictures, of a video or a bag one each half second."""
    from rtseg.lab.chessboard import calibrate_chessboard, spaced
    from rtseg.media import open_frames

    if out.exists():
        raise ConfigError(f"expected a new file for the camera, got {out}, which is there; give another --out")
    check_outputs(out.parent, [out.name], [])
    names: list[str] = []

    def pictures(frames: Iterable[Frame]) -> Iterator[NDArray[np.uint8]]:
        for frame in spaced(frames):
            names.append(frame.name)
            yield frame.image

    with open_frames(images, topic) as frames:
        if frames.live:
            raise ConfigError(f"expected pictures or a recording, got {images}, which does not end; record it first")
        read = pictures(Bars.over(frames, "looking for boards", frames.count, disable=as_json))
        result = calibrate_chessboard(read, board=(columns, rows), square=square)
        left_out = list(frames.left_out)
    result.camera.save(out)
    left_out += [(names[index] or f"picture {index + 1}", reason) for index, reason in result.rejected.items()]
    if as_json:
        print_json({"camera": out, "boards": len(result.used), "rms_pixels": result.rms, "left_out": dict(left_out)})
        return
    if any(names):
        for name, reason in left_out:
            console.print(f"{name} left out: {reason}")
    else:  # of a recording they have no names, and may be thousands
        for reason, number in Counter(result.rejected.values()).items():
            console.print(f"{counted(number, 'picture')} left out: {reason}")
    console.print(f"{counted(len(result.used), 'board')}, reprojection error {result.rms:.2f} px rms")
    console.print(f"wrote {out}; say in rtseg_extrinsics how the camera is mounted")


@calibrate_app.command("int8")
def calibrate_int8_command(
    model: Annotated[str, typer.Argument(help="Bundled model or folder with card.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")],
    data: Annotated[list[Path] | None, typer.Option(help="Bags, videos or folders of frames.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Do a calibration again, such as calibration/int8/lanes-lite.yaml.")
    ] = None,
    rendered: Annotated[
        int | None, typer.Option(min=0, help="Frames to render, beside --data; none, or the recipe's, by default.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Most frames to draw from each --data; 64, or the recipe's, by default.")
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(help="Labelled frames for the metric, as for evaluate; rendered by default."),
    ] = None,
    recipes: Annotated[Path, typer.Option(help="Folder for the recipe and the report.")] = Path("calibration/int8"),
    as_json: JsonOption = False,
) -> None:
    """Quantize a model; it is written only if it keeps its metric (extras: train, for instances also scores)."""
    from rtseg.lab.deploy.calibrate import calibrate_int8
    from rtseg.lab.deploy.recipe import CalibrationSettings, Recipe

    before = Recipe.load(recipe) if recipe else None
    asked = {name: value for name, value in (("rendered", rendered), ("frames", frames)) if value is not None}
    settings = (before.settings if before else CalibrationSettings()).model_copy(update=asked)
    result = calibrate_int8(model, data or [], out, settings, evaluation=evaluate, recipes=recipes, progress=True)
    if as_json:
        report = {"metric": result.metric, "dataset": result.dataset, "values": result.values}
        print_json({"model": out, **report, "in_float": result.in_float})
        return
    for file, value in result.values.items():
        console.print(f"{file}: {result.metric} {100 * value:.2f} % on {result.dataset}")
    console.print(f"layers left in float: {', '.join(result.in_float) or 'none'}")
    if before:
        same = before.same_files({file.file: file.sha256 for file in result.card.files})
        if same is not None:
            console.print("the recipe's files, bit for bit" if same else "other files than the recipe's")
        made = next(file.sha256 for file in result.card.files if file.precision == "fp32")
        if same is False and before.results is not None and before.results.fp32_sha256 != made:
            console.print("because the recipe's were made of another fp32 network, whose hash it names")
    console.print(f"wrote {out}; report: {recipes / result.card.name}.html")
