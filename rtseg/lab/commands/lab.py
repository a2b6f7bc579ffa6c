"""``rtseg lab``: pages, figures and data sets that this project itself is developed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtseg.printing import console, remarks_console

lab_app = typer.Typer(help="Pages, figures and data sets for developing models.", no_args_is_help=True)

DataOption = Annotated[list[Path] | None, typer.Option(help="TuSimple or CULane folder; repeat for more.")]
FirstSeedOption = Annotated[int, typer.Option(min=0, help="Seed of the first picture.")]
CountOption = Annotated[int, typer.Option(min=1, help="Pictures.")]
PageOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")]
SheetArgument = Annotated[Path, typer.Argument(help="PNG or JPEG file to write.")]


@lab_app.command("road-sheet")
def road_sheet(
    path: SheetArgument,
    first_seed: FirstSeedOption = 0,
    count: CountOption = 24,
    truth: Annotated[bool, typer.Option("--truth", help="Draw the lane lines over the pictures.")] = False,
) -> None:
    """Write a sheet of rendered roads."""
    from rtseg.lab.render.sheet import write_contact_sheet

    write_contact_sheet(path, first_seed, count, truth)


@lab_app.command("street-sheet")
def street_sheet(path: SheetArgument, first_seed: FirstSeedOption = 0, count: CountOption = 12) -> None:
    """Write a sheet of rendered streets, each above its instances."""
    from rtseg.lab.render.street.sheet import write_street_sheet

    write_street_sheet(path, first_seed, count)


@lab_app.command("streets")
def streets(
    folder: Annotated[Path, typer.Argument(help="Made if missing; frames that are there are kept.")],
    first_seed: FirstSeedOption = 0,
    count: CountOption = 1000,
    width: Annotated[int, typer.Option(min=16, help="Of the pictures, pixels.")] = 640,
    height: Annotated[int, typer.Option(min=16, help="Of the pictures, pixels.")] = 320,
    split: Annotated[Literal["train", "val"], typer.Option(help="Part of the data set they are written as.")] = "train",
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
) -> None:
    """Write rendered streets as a data set in Cityscapes' layout."""
    from rtseg.lab.render.street.folder import write_streets

    write_streets(folder, range(first_seed, first_seed + count), (height, width), split, workers)


@lab_app.command("affinity-scene")
def affinity_scene(
    out: Annotated[Path, typer.Argument(help=".npz file to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the scene.")] = 3,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width.", min=8)] = (256, 512),
    noise: Annotated[Literal["low", "medium", "high"], typer.Option(help="In the affinities.")] = "medium",
) -> None:
    """Write the affinities of a scene for ``rtseg inspect affinity``."""
    from rtseg.lab.data.affinity_scenes import write_scene

    write_scene(out, seed, size, noise)


@lab_app.command("grouping-figures")
def grouping_figures(folder: Annotated[Path, typer.Argument(help="Such as docs/figures.")]) -> None:
    """Draw what the grouping methods make of scenes of rising noise, and how their affinities are inspected."""
    from rtseg.lab.studies.grouping_figures import write_figures

    write_figures(folder)


@lab_app.command("grouping-quality")
def grouping_quality(
    data: Annotated[Path, typer.Option(help="Folder of cityscapes640.")],
    frames: Annotated[int, typer.Option(min=1, help="Frames at most, evenly from all.")] = 200,
    height: Annotated[int, typer.Option(min=8, help="Of the maps, which are twice as wide.")] = 160,
    strongest: Annotated[int, typer.Option(min=2, help="Strength up to which the maps are spoilt.")] = 4,
    figure: Annotated[Path, typer.Option(help="Written with the figures as JSON beside it.")] = Path(
        "docs/figures/grouping_quality.svg"
    ),
) -> None:
    """Measure how each grouping method withstands bad affinities."""
    from rtseg.lab.studies.grouping_quality import write_quality

    results = write_quality(data, frames, (height, 2 * height), strongest, figure)
    for name, rows in results.items():
        scores = (
            f"{level}: AP {row['ap']:.3f} PQ {row['pq']:.3f} {row['milliseconds']:.1f} ms"
            for level, row in rows.items()
        )
        console.print(name, *scores, highlight=False)


@lab_app.command("instance-page")
def instance_page(
    model: Annotated[list[str], typer.Option("--model", "-m", help="Bundled model or folder; repeat for more.")],
    data: Annotated[Path, typer.Option(help="Folder of labelled frames.")],
    cities: Annotated[str, typer.Option(help="held-out, all, or names with commas between.")] = "held-out",
    limit: Annotated[int | None, typer.Option(min=1, help="Frames at most, evenly from all.")] = None,
    out: PageOption = Path("docs"),
) -> None:
    """Write docs/instances.md: what instance models score, with true maps, and in the papers' ablations."""
    from rtseg.lab.studies.instance_page import write_instance_page

    console.print(write_instance_page(out, model, data, cities, limit))


@lab_app.command("instance-ids")
def instance_ids(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder.")] = "instances-lite",
    drives: Annotated[int, typer.Option(min=1, help="Rendered streets.")] = 6,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Of each drive.")] = 8.0,
) -> None:
    """Measure how well ids stay with objects on rendered streets: with true masks, and with a model's."""
    from rtseg.lab.studies.instance_ids import score_ids, street_drives, table
    from rtseg.loading import load

    console.print(table(score_ids(load(model), street_drives(drives, seconds), console.print)))


@lab_app.command("mask-quality")
def mask_quality(
    data: Annotated[Path, typer.Option(help="Folder of labelled frames.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder.")] = "instances-lite",
    limit: Annotated[int, typer.Option(min=1, help="Frames at most, evenly from all.")] = 190,
) -> None:
    """Fit what size and score tell of how good a mask is, on frames that are not held out: a card's `quality`."""
    from rtseg.lab.data.instance_folders import instance_frames
    from rtseg.lab.data.selection import evenly
    from rtseg.lab.studies.mask_quality import fit_quality, found_overlaps
    from rtseg.loading import load

    weights = fit_quality(found_overlaps(load(model), evenly(instance_frames([data], "train"), limit)))
    console.print(f"quality: [{', '.join(f'{weight:.2f}' for weight in weights)}]", highlight=False, markup=False)


@lab_app.command("lane-page")
def lane_page(
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="lanes-lite by default; repeat for more.")
    ] = None,
    data: DataOption = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of videos.")] = None,
    rendered: Annotated[int, typer.Option(min=0, help="Frames to render.")] = 200,
    drives: Annotated[int, typer.Option(min=0, help="Roads to drive in each condition.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Of each drive.")] = 6.0,
    video_frames: Annotated[int | None, typer.Option(min=1, help="Of each video at most.")] = None,
    out: PageOption = Path("docs"),
) -> None:
    """Write docs/lanes.md: what lane models score on pictures, drives and videos, and where they lose it."""
    from rtseg.lab.studies.lane_page import write_lane_page

    page = write_lane_page(out, model or ["lanes-lite"], data or [], videos, rendered, drives, seconds, video_frames)
    console.print(page)


@lab_app.command("ego-lane")
def ego_lane(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled lane model or folder.")] = "lanes-lite",
    drives: Annotated[int, typer.Option(min=1, help="Rendered roads, each in every condition.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Of each drive.")] = 3.0,
) -> None:
    """Measure the own lane's place, width and heading on rendered drives, and whether their spreads hold."""
    from rtseg.lab.studies.ego_lane import score_ego, tables
    from rtseg.lab.studies.lane_drives import FIRST_SEED, rendered_drives
    from rtseg.loading import load

    scores = score_ego(load(model), rendered_drives(range(FIRST_SEED, FIRST_SEED + drives), seconds))
    for table in tables(scores):
        console.print(table)


@lab_app.command("lane-markings")
def lane_markings(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder.")] = "lanes-lite",
    data: Annotated[Path | None, typer.Option(help="TuSimple folder whose classes are solid and dashed.")] = None,
    drives: Annotated[int, typer.Option(min=0, help="Rendered roads, each in every condition.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Of each drive.")] = 3.0,
) -> None:
    """Measure how often solid and dashed lines are told apart, and fit the curve to labelled pictures."""
    from rtseg.lab.data.tusimple import read_labels
    from rtseg.lab.studies.lane_drives import FIRST_SEED, rendered_drives
    from rtseg.lab.studies.lane_markings import fitted_curve, score_markings, score_pictures, table
    from rtseg.loading import load

    pipeline = load(model)
    if data is not None:
        scores = score_pictures(pipeline, read_labels(data))
        console.print(table(scores))
        console.print("fitted: steepness {:.1f}, even at {:.3f} of the paint".format(*fitted_curve(scores)))
    if drives:
        console.print(table(score_markings(pipeline, rendered_drives(range(FIRST_SEED, FIRST_SEED + drives), seconds))))


@lab_app.command("camera-health")
def camera_health(
    recordings: Annotated[list[str] | None, typer.Argument(help="Videos and bags.")] = None,
    drives: Annotated[int, typer.Option(min=0, help="Rendered roads, each in every condition.")] = 1,
) -> None:
    """Damage recordings and rendered drives: how soon each fault of a camera is told, and how often falsely."""
    from rtseg.lab.studies.camera_health import score_recordings, table

    console.print(table(score_recordings(recordings or [], drives)))


@lab_app.command("ignored")
def ignored(
    recordings: Annotated[list[str] | None, typer.Argument(help="Videos and bags.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled lane model or folder.")] = "lanes-lite",
    drives: Annotated[int, typer.Option(min=0, help="Rendered roads, with and without bonnet and text.")] = 5,
    seconds: Annotated[float, typer.Option(min=1.0, max=3600, help="Of each drive; text needs 16.")] = 20.0,
) -> None:
    """Measure what --ignore auto learns: lines found on it, and lines that it costs."""
    from rtseg.lab.studies.ignored import score_recordings, table

    scores = []
    for score in score_recordings(recordings or [], drives, seconds, model):
        scores.append(score)
        remarks_console.print(table([score]))
    console.print(table(scores))


@lab_app.command("mounting")
def mounting(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder.")] = "lanes-lite",
    drives: Annotated[int, typer.Option(min=1, help="Rendered roads, each with a camera of its own.")] = 60,
    seconds: Annotated[float, typer.Option(min=1.0, max=3600, help="Of each.")] = 60.0,
    true_lines: Annotated[
        bool, typer.Option("--true-lines", help="Take the true lines for those of a model: an hour in minutes.")
    ] = False,
) -> None:
    """Measure how soon a wrong mounting is told on rendered drives, and how often a right one falsely."""
    from functools import partial

    from rtseg.lab.studies.mounting import roads, score_mounting, seen_lanes, summary, table, true_lanes
    from rtseg.loading import load

    scores = []
    lanes_of = true_lanes if true_lines else partial(seen_lanes, load(model))
    for score in score_mounting(roads(drives, seconds), lanes_of):
        scores.append(score)
        remarks_console.print(table([score]))
    console.print(table(scores))
    for line in summary(scores):
        console.print(line, highlight=False)


@lab_app.command("lane-folds")
def lane_folds(
    config: Annotated[str, typer.Argument(help="Training configuration.")],
    data: Annotated[Path, typer.Option(help="TuSimple folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs, one a fold.")] = Path("out/folds"),
    folds: Annotated[int, typer.Option(min=2, help="Parts, of which each is scored once.")] = 4,
    start: Annotated[str | None, typer.Option(help="What to go on from, instead of the configuration's.")] = None,
    rendered: Annotated[Path | None, typer.Option(help="Folder of rendered frames to share with other runs.")] = None,
) -> None:
    """Cross-validate a training configuration: every picture is scored by a model that has not seen it."""
    from rtseg.lab.studies.lane_folds import cross_validate, folds_table

    console.print(folds_table(cross_validate(config, data, out, folds, start, rendered)), highlight=False)


@lab_app.command("lane-confidence")
def lane_confidence(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled model or folder.")] = "lanes-lite",
    data: DataOption = None,
    rendered: Annotated[int, typer.Option(min=0, help="Frames to render.")] = 300,
    sets: Annotated[
        str | None, typer.Option(help="Take what this training configuration learns from of its sets, found in --data.")
    ] = None,
) -> None:
    """Fit what a lane model's confidence means to labelled and rendered frames, and enter it into the card."""
    from rtseg.lab.studies.lane_confidence import calibrate_model
    from rtseg.lab.training.configurations import lane_sets

    card, calibration = calibrate_model(model, data or [], rendered, lane_sets(sets) if sets else ())
    console.print(f"{card}: {calibration}", highlight=False)


@lab_app.command("half-weights")
def half_weights(
    folders: Annotated[list[Path], typer.Argument(help="Model folders, whose files and cards are replaced.")],
) -> None:
    """Store the weights of fp32 networks in float16, half the size, and say how much their outputs change."""
    from rtseg.lab.deploy.smaller import store_in_half

    for folder in folders:
        stored = store_in_half(folder)
        console.print(
            f"{folder.name}: {stored.before / 1e6:.1f} to {stored.after / 1e6:.1f} MB, outputs change by "
            f"{stored.change:.5f} of their spread (rms)",
            highlight=False,
        )


@lab_app.command("model-wheel")
def model_wheel(
    folders: Annotated[list[Path], typer.Argument(help="Model folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the wheels.")] = Path("dist"),
) -> None:
    """Write models as wheels rtseg-models-NAME for a package index."""
    from rtseg.lab.deploy.model_wheel import write_model_wheel

    for folder in folders:
        console.print(write_model_wheel(folder, out))


@lab_app.command("jetson-wheels")
def jetson_wheels() -> None:
    """Ask pip for an arm64 wheel of everything the runtime needs on a Jetson; exit code 1 if one is missing."""
    from rtseg.lab.deploy.wheels import print_wheels

    raise typer.Exit(0 if print_wheels() else 1)
