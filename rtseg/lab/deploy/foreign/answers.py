"""What a network's file cannot say of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import yaml

from rtseg.errors import ConfigError
from rtseg.instances.methods.yolo_seg import Layout
from rtseg.regular_file import read_regular
from rtseg.yaml_text import LARGEST, parse_yaml

Numbers = tuple[float, float, float]

NORMALIZATIONS: dict[str, tuple[Numbers, Numbers]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "zero-one": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "minus-one-one": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Means and deviations on the scale 0 to 255, in the order red, green, blue."""

CLASS_LISTS = {
    "cityscapes": (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ),
}


@dataclass(frozen=True)
class Answers:
    """Answers to questions that a family may ask; None where none was given.

    Attributes:
        classes: names, in the order of the network's numbers.
        normalization: means and deviations in the order of `order`.
        order: of the color channels.
        fit: how frames are brought to the input.
        layout: of a YOLO table.
        background: whether the first lane map is the background.
        anchors: a data set whose anchors a row-anchor network has, or its first and last row as shares of the height.
        top: share of a frame, from the top, that the network is not shown.
        output: name of the map that is meant, where several are as large.
        things, ignored, drivable, ground: classes, see :class:`rtseg.instances.methods.semantic.SemanticParameters`.
    """

    classes: tuple[str, ...] | None = None
    normalization: tuple[Numbers, Numbers] | None = None
    order: Literal["rgb", "bgr"] | None = None
    fit: Literal["stretch", "letterbox"] | None = None
    layout: Layout | None = None
    background: bool | None = None
    anchors: str | None = None
    top: float | None = None
    output: str | None = None
    things: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    drivable: tuple[str, ...] = ()
    ground: tuple[str, ...] = ()

    def require(self, path: Path, *names: str) -> None:
        """Check that some were given.

        Raises:
            ConfigError: naming all options that are missing.
        """
        missing = [f"{OPTIONS[name]}" for name in names if getattr(self, name) is None]
        if missing:
            raise ConfigError(f"{path.name} does not say all of itself; give {'; '.join(missing)}")

    def refuse_others(self, family: str, *names: str) -> None:
        """Check that only those were given that a family asks for.

        Raises:
            ConfigError: naming the first other.
        """
        for field in fields(self):
            if field.name not in names and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"{OPTIONS[field.name].split()[0]} is not for networks imported as {family}; leave it out"
                )


OPTIONS = {
    "classes": "--classes (names in the network's order, a file with one a line, or cityscapes)",
    "normalization": f"--normalize ({', '.join(NORMALIZATIONS)}, or six numbers: means and deviations of 0 to 255)",
    "order": "--order (rgb or bgr)",
    "fit": "--fit (stretch or letterbox)",
    "layout": "--layout (classes as v8 and v11 have, objectness as v5, selected with suppression inside)",
    "background": "--background or --no-background (whether the first map is the background)",
    "anchors": "--anchors (tusimple, culane, or first and last row as shares of the height, such as 0.42,1)",
    "top": "--top",
    "output": "--output",
    "things": "--things",
    "ignored": "--ignored",
    "drivable": "--drivable",
    "ground": "--ground",
}


def read_classes(text: str) -> tuple[str, ...]:
    """Names from a list with commas, a file (one a line, or YAML with ``names``), or a bundled list's name.

    Raises:
        ConfigError: there are none, or one twice.
    """
    if text in CLASS_LISTS:
        return CLASS_LISTS[text]
    path = Path(text)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if (
        not is_file
        and "," not in text
        and (path.suffix.lower() in (".txt", ".yaml", ".yml", ".names") or len(path.parts) > 1)
    ):
        raise ConfigError(f"expected a list of classes in {text}, but there is no such file")
    names = _classes_of_file(path) if is_file else [name.strip() for name in text.split(",")]
    return checked_classes(names, text)


def checked_classes(names: list[str], where: str) -> tuple[str, ...]:
    """Refuse classes without a name, or with the same.

    Raises:
        ConfigError: there are such, or none.
    """
    if not names or not all(names) or len(set(names)) != len(names):
        raise ConfigError(f"expected classes with a name each, all different, got {', '.join(names) or where!r}")
    return tuple(names)


def names_in(metadata: dict[str, str]) -> tuple[str, ...] | None:
    """The classes that exporters write into a file as a Python literal or as JSON; None where there are none."""
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(names, dict):
        numbered = {str(number): name for number, name in names.items()}  # JSON has numbers as texts
        if set(numbered) != {str(number) for number in range(len(names))}:
            return None
        names = [numbered[str(number)] for number in range(len(numbered))]
    if not isinstance(names, list | tuple) or not names:
        return None
    found = [str(name) for name in names]
    return tuple(found) if len(set(found)) == len(found) and all(found) else None


def read_normalization(text: str) -> tuple[Numbers, Numbers]:
    """A bundled normalization's name, or means and deviations.

    Raises:
        ConfigError: it is neither.
    """
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    try:
        a, b, c, d, e, f = (float(number) for number in text.replace(",", " ").split())
    except ValueError:
        raise ConfigError(f"expected {OPTIONS['normalization']}, got {text!r}") from None
    return (a, b, c), (d, e, f)


def read_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` as (height, width).

    Raises:
        ConfigError: it is no size.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and 2 <= int(part) <= 1 << 14 for part in parts):
        raise ConfigError(f"expected --size as WIDTHxHEIGHT in pixels, got {text!r}")
    return int(parts[1]), int(parts[0])


def _classes_of_file(path: Path) -> list[str]:
    try:
        text = read_regular(path, LARGEST).decode("utf-8-sig")
        if path.suffix.lower() not in (".yaml", ".yml"):
            return [line.strip() for line in text.splitlines() if line.strip()]
        names = parse_yaml(text)
        names = names.get("names") if isinstance(names, dict) else names
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"expected a list of classes in {path}: {error}") from error
    if isinstance(names, dict):  # by their numbers
        names = [names[key] for key in sorted(names)] if all(type(key) is int for key in names) else None
    if not isinstance(names, list) or any(isinstance(name, list | dict) for name in names):
        raise ConfigError(f"expected a list of classes in {path}, or one called names, or names by their numbers")
    return [str(name) for name in names]
