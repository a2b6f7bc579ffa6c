"""``rtseg import``: networks that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rtseg.counted import counted
from rtseg.options import JsonOption
from rtseg.printing import console, print_json

app = typer.Typer()


@app.command("import")
def import_network(
    network: Annotated[Path, typer.Argument(help="ONNX file.")],
    family: Annotated[
        Literal["yolo-seg", "semantic", "row-anchor", "lane-map"], typer.Option("--as", help="How its outputs read.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to write; its name is the model's.")],
    classes: Annotated[
        str | None, typer.Option(help="Names in the network's order, a file with one a line, or cityscapes.")
    ] = None,
    normalize: Annotated[
        str | None, typer.Option(help="imagenet, zero-one, minus-one-one, none, or three means and three deviations.")
    ] = None,
    order: Annotated[Literal["rgb", "bgr"] | None, typer.Option(help="Of the color channels.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, where the network leaves it open.")] = None,
    fit: Annotated[
        Literal["stretch", "letterbox"] | None, typer.Option(help="How frames are brought to that size.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Of the weights; what the file says, by default.")] = None,
    picture: Annotated[Path | None, typer.Option(help="To try it on; a rendered one by default.")] = None,
    layout: Annotated[
        Literal["classes", "objectness", "selected"] | None,
        typer.Option(help="yolo-seg: as v8 and v11, as v5, or with suppression inside."),
    ] = None,
    things: Annotated[str | None, typer.Option(help="semantic: classes whose components are objects.")] = None,
    ignored: Annotated[str | None, typer.Option(help="semantic: classes that are not shown.")] = None,
    drivable: Annotated[str | None, typer.Option(help="Classes that make the drivable area.")] = None,
    ground: Annotated[
        str | None, typer.Option(help="Further classes that lie flat on the ground, such as a sidewalk.")
    ] = None,
    background: Annotated[bool | None, typer.Option(help="lane-map: whether the first map is the background.")] = None,
    anchors: Annotated[
        str | None, typer.Option(help="row-anchor: tusimple, culane, or first and last row as shares of the height.")
    ] = None,
    top: Annotated[
        float | None, typer.Option(min=0, max=0.9, help="Lanes: share of the frame that is cut off at the top.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Name of the output that is meant, where several maps are as large.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model folder of an ONNX network, try it on a picture and draw what it finds (needs the package onnx)."""
    from rtseg.lab.deploy.foreign.answers import Answers, read_classes, read_normalization, read_size
    from rtseg.lab.deploy.foreign.import_model import import_model

    answers = Answers(
        classes=None if classes is None else read_classes(classes),
        normalization=None if normalize is None else read_normalization(normalize),
        order=order,
        fit=fit,
        layout=layout,
        background=background,
        anchors=anchors,
        top=top,
        output=output,
        things=_names(things),
        ignored=_names(ignored),
        drivable=_names(drivable),
        ground=_names(ground),
    )
    made = import_model(
        network,
        family,
        out,
        answers,
        size=None if size is None else read_size(size),
        licence=license,
        picture=picture,
    )
    if as_json:
        print_json({"model": out, "card": made.card.model_dump(), "found": len(made.result), "overlay": made.overlay})
        return
    card, needs = made.card, made.card.input
    outputs = ", ".join(f"{output.name} {output.sides(needs)} as {output.kind}" for output in card.outputs)
    console.print(f"input: {needs.width}x{needs.height} {needs.order}, {needs.fit}; outputs: {outputs}")
    console.print(f"license: {card.licence}")
    noun = "lane line" if card.task == "lanes" else "segment" if card.grouping.method == "semantic" else "object"
    console.print(f"{counted(len(made.result), noun)} on the picture: {made.overlay}")
    console.print(f"wrote {out}; next: rtseg run VIDEO --model {out}")
    console.print(f"or: ros2 launch rtseg {card.task}.launch.py model:={out.resolve()}")


def _names(text: str | None) -> tuple[str, ...]:
    from rtseg.lab.deploy.foreign.answers import read_classes

    return () if text is None else read_classes(text)
