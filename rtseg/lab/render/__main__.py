"""``python -m rtseg.lab.render contact-sheet out.png``, ``street-sheet out.png`` or ``streets FOLDER``: look at what
the renderers draw, or write a data set of streets."""

from __future__ import annotations

import argparse

from rtseg.errors import RtsegError
from rtseg.lab.render.sheet import write_contact_sheet
from rtseg.lab.render.street.folder import write_streets
from rtseg.lab.render.street.sheet import write_street_sheet


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rtseg.lab.render", description="Look at what the renderers draw, or write it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sheet = commands.add_parser("contact-sheet", help="write a sheet of rendered roads")
    sheet.add_argument("path", help="PNG or JPEG file to write")
    sheet.add_argument("--first-seed", type=int, default=0)
    sheet.add_argument("--count", type=int, default=24)
    sheet.add_argument("--truth", action="store_true", help="draw the lane lines over the pictures")
    street = commands.add_parser("street-sheet", help="write a sheet of rendered streets, each above its instances")
    street.add_argument("path", help="PNG or JPEG file to write")
    street.add_argument("--first-seed", type=int, default=0)
    street.add_argument("--count", type=int, default=12)
    streets = commands.add_parser("streets", help="write rendered streets as a data set in Cityscapes' layout")
    streets.add_argument("folder", help="is made if missing; frames that are there are kept")
    streets.add_argument("--first-seed", type=int, default=0)
    streets.add_argument("--count", type=int, default=1000)
    streets.add_argument("--width", type=int, default=640)
    streets.add_argument("--height", type=int, default=320)
    streets.add_argument("--split", choices=["train", "val"], default="train")
    streets.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    try:
        _run(given)
    except RtsegError as error:
        parser.error(str(error))


def _run(given: argparse.Namespace) -> None:
    if given.command == "streets":
        seeds = range(given.first_seed, given.first_seed + given.count)
        write_streets(given.folder, seeds, (given.height, given.width), given.split, given.workers)
    elif given.command == "street-sheet":
        write_street_sheet(given.path, given.first_seed, given.count)
    else:
        write_contact_sheet(given.path, given.first_seed, given.count, given.truth)


if __name__ == "__main__":
    main()
