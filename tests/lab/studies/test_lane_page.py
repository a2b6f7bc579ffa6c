"""The page on lane models, from a small network and short drives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from rtseg.lab.commands.lab import lab_app
from rtseg.lab.replay.video_writer import VideoWriter
from rtseg.lab.report.pages import markdown_table, save_pictures, save_plot
from rtseg.lab.report.report import Picture
from tests.threshold_network import two_lane_road, write_threshold_model


@pytest.mark.slow
def test_page_has_everything(tmp_path):
    model = write_threshold_model(tmp_path / "thresholds")
    (tmp_path / "videos").mkdir()
    with VideoWriter(tmp_path / "videos" / "straight.mp4", fps=10, size=(144, 256)) as video:
        for _ in range(5):
            video.write(two_lane_road())
    arguments = ["--model", model, "--videos", tmp_path / "videos", "--video-frames", "4", "--rendered", "3"]
    arguments += ["--drives", "1", "--seconds", "0.1", "--out", tmp_path / "docs"]
    answer = CliRunner().invoke(lab_app, ["lane-page", *map(str, arguments)])
    assert answer.exit_code == 0, answer.output
    page = (tmp_path / "docs" / "lanes.md").read_text()
    for part in ("## thresholds", "| rendered, with lines |", "| night | 1 |", "| straight | 4 | 2.00 | 0 | 0.0 |"):
        assert part in page, part
    named = [line.partition("(")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(named) == 5
    assert all((tmp_path / "docs" / name).stat().st_size > 500 for name in named)


def test_sheets_and_tables(tmp_path):
    pictures = [Picture.of("", np.full((h, 80, 3), 200, np.uint8)) for h in (40, 60, 40, 40)]
    save_pictures(tmp_path / "sheet.jpg", pictures)
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape == (2 * 320, 3 * 426, 3)
    assert markdown_table(("a", "b"), [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    save_plot(tmp_path / "plot.svg", '<svg viewBox="0 0 1 1"><path stroke="currentColor"/></svg>')
    written = (tmp_path / "plot.svg").read_text()
    assert written.startswith("<?xml")
    assert "currentColor" not in written
    assert 'xmlns="http://www.w3.org/2000/svg"' in written
