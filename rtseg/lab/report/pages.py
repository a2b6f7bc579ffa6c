"""Parts of the pages in docs/ that commands write: tables, plots alone in a file, sheets of pictures."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rtseg.files import write_bytes, write_text
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.report import Picture

_TILE_WIDTH = 426
_GRAY = "#7a828a"  # seen on light and on dark pages


def write_page(path: Path, command: str, parts: Sequence[str], hint: str = "") -> Path:
    """Write the parts of a page between a mark of what wrote it, and how it is made again and on what it was made.

    Args:
        path: of the page, whose folder is there.
        command: that writes it; this process's arguments stand below the page.
        parts: paragraphs, tables and headings.
        hint: a paragraph below the command.

    Returns:
        The path.
    """
    facts = "; ".join(f"{name}: {value}" for name, value in machine_facts())
    mark = f"<!-- Written by {command}: change that, not this. -->"
    again = [
        "## Making it again",
        f"```\n{shlex.join(['rtseg', *sys.argv[1:]])}\n```",
        *filter(None, [hint]),
        f"{facts}.",
    ]
    write_text(path, "\n\n".join([mark, *parts, *again]) + "\n")
    return path


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)]), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" for line in lines)


def save_plot(path: Path, svg: str) -> None:
    """Write an SVG of :mod:`rtseg.lab.report.plots`: alone in a file it has no page whose text color it could take.

    What a page's script reads is left out.
    """
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    if 'xmlns="' not in svg[: svg.index(">")]:
        svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    svg = re.sub(r' data-chart="[^"]*"', "", svg.replace("<svg ", '<svg font-family="sans-serif" ', 1))
    write_text(path, head + svg.replace("currentColor", _GRAY))


def save_pictures(path: Path, pictures: Sequence[Picture], columns: int = 3) -> None:
    """Write pictures side by side in rows as one JPEG."""
    tiles = []
    for picture in pictures:
        image = np.asarray(cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR))
        size = (_TILE_WIDTH, round(_TILE_WIDTH * image.shape[0] / image.shape[1]))
        tiles.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    height = max(tile.shape[0] for tile in tiles)
    tiles = [cv2.copyMakeBorder(t, 0, height - t.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(255,) * 3) for t in tiles]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    write_bytes(path, cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
