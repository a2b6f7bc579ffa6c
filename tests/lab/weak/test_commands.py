"""`rtseg weak label` as a user runs it: on a bag, first without keywords, then with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtseg.cli import main
from tests.media.recordings import COMPRESSED, PERIOD, START, Messages, drive, write_bag

Rtseg = Callable[..., tuple[int, str]]


@pytest.fixture
def rtseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rtseg:
    torch.set_num_threads(1)

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rtseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        # The console breaks lines where the terminal ends.
        return int(stopped.value.code or 0), " ".join((said.out + said.err).split())

    return call


@pytest.mark.slow
def test_from_a_bag_to_labels(rtseg: Rtseg, tmp_path: Path) -> None:
    messages = Messages(ros1=False)
    entries = drive(messages, frames=5, raw=False, compressed=True)
    broken = START + 5 * PERIOD
    bag = write_bag(
        tmp_path, "mcap", [*entries, (COMPRESSED, broken, messages.compressed(5, broken, cut=40))], messages
    )
    out = tmp_path / "out"
    code, said = rtseg("weak", "label", bag, "--out", out)
    assert code == 0, said
    template = (out / "01-frames" / "keywords.csv").read_text().splitlines()
    names = [f"{START + i * PERIOD}.jpg" for i in range(5)]
    assert template == ["image,keywords", *(f"{name}," for name in names)]

    words = ["car", "car;person", "person", "", "car"]
    keywords = tmp_path / "keywords.csv"
    keywords.write_text("\n".join(f"{name},{word}" for name, word in zip(names, words, strict=True)))
    masks = tmp_path / "masks"
    masks.mkdir()
    labels = np.zeros((48, 64), np.uint8)
    labels[5:25, 5:25], labels[10:40, 35:60] = 1, 2
    for name in names[:4]:
        cv2.imwrite(str(masks / f"{Path(name).stem}.png"), labels)
    command = ("weak", "label", bag, "--keywords", keywords, "--proposals", masks, "--out", out, "--small")
    code, said = rtseg(*command)
    assert code == 0, said
    assert "proposals: frames without an instance (1)" in said
    assert "frames: could not be read: expected" in said
    assert "labelled as background alone" in said
    assert (out / "report.html").is_file()
    assert (out / "08-labels" / "instances.json").is_file()
    assert len(list((out / "08-labels" / "images").iterdir())) == 5


def test_what_cannot_be_labelled_is_one_sentence(rtseg: Rtseg, tmp_path: Path) -> None:
    messages = Messages(ros1=False)
    broken = [(COMPRESSED, START + i, messages.compressed(i, START + i, cut=40)) for i in range(3)]
    bag = write_bag(tmp_path, "db3", broken, messages)
    code, said = rtseg("weak", "label", bag, "--out", tmp_path / "out")
    assert code == 2
    assert said.startswith("rtseg: expected frames to label in drive, got none") or "got none" in said
    code, said = rtseg("weak", "label", bag, "--keywords", tmp_path / "none.yaml", "--out", tmp_path / "out")
    assert code == 2
    assert "expected a keyword file" in said
