"""The contact sheet: one tile a seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from typer.testing import CliRunner

from rtseg.lab.commands.lab import lab_app
from rtseg.lab.render.sheet import contact_sheet, write_contact_sheet


def test_tiles_fill_rows_and_the_rest_is_black() -> None:
    sheet = contact_sheet([0, 1, 2], columns=2, size=(90, 160), tile=80)
    assert sheet.shape == (90, 160, 3)
    assert not sheet[45:, 80:].any()
    assert sheet[45:, :80].any()


def test_truth_is_drawn_over_the_pictures() -> None:
    plain, drawn = (contact_sheet([4], 1, (90, 160), 160, truth) for truth in (False, True))
    assert (plain != drawn).any()


def test_the_sheet_is_written(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "sheet.png", first_seed=3, count=1)
    assert cv2.imread(str(tmp_path / "sheet.png")).dtype == np.uint8


def test_each_sheet_is_a_command(tmp_path: Path) -> None:
    for command in ("road-sheet", "street-sheet"):
        answer = CliRunner().invoke(lab_app, [command, str(tmp_path / f"{command}.png"), "--count", "1"])
        assert answer.exit_code == 0, answer.output
        assert cv2.imread(str(tmp_path / f"{command}.png")) is not None
    answer = CliRunner().invoke(lab_app, ["streets", str(tmp_path / "streets"), "--count", "1", "--workers", "1"])
    assert answer.exit_code == 0, answer.output
    assert len(list((tmp_path / "streets").rglob("*_leftImg8bit.*"))) == 1
