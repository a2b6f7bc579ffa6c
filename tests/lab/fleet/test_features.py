"""A network's own features: of its deepest map, for a frame of every two seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtseg.errors import ModelError
from rtseg.lab.fleet.features import FeatureNetwork
from rtseg.lab.fleet.mine import mine_frames
from rtseg.loading import load
from rtseg.runtime import bundled_models, find_model
from tests.lab.fleet.drives import FPS, road, write_fleet
from tests.lab.fleet.test_replay import replay, rows_of


def test_features_are_the_mean_of_the_deepest_map(tmp_path: Path) -> None:
    model = write_fleet(tmp_path, 0)[1]
    maps, _ = load(model, backend="onnxruntime").head_maps(road(3))
    whole = maps["logits"][0].mean(axis=(1, 2))
    np.testing.assert_allclose(FeatureNetwork(find_model(model), 1)(road(3)), whole, atol=0.05 * np.abs(whole).max())


def test_a_network_without_features_is_replayed_and_mined_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=20)
    monkeypatch.setattr("rtseg.lab.fleet.features._deepest", _none)
    replay(sources, tmp_path / "out", model)
    assert all(row["features"] is None for row in rows_of(tmp_path / "out"))
    assert len(mine_frames(str(tmp_path / "out"), 2, tmp_path / "mined")) == 2


def _none(*_: object) -> str:
    raise ModelError("it has none")


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_networks_have_features_that_tell_pictures_apart(name: str) -> None:
    features = FeatureNetwork(find_model(name), 1)
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    one, other = features(road(3)), features(noise)
    assert one.shape == other.shape
    assert one.size >= 32
    assert np.isfinite(one).all()
    assert np.abs(one - other).max() > 0.01


def test_a_frame_of_every_two_seconds_has_features_however_it_is_cut(tmp_path: Path) -> None:
    sources, model = write_fleet(tmp_path, 1, frames=80)
    replay(sources, tmp_path / "out", model, shard_seconds=4)
    rows = rows_of(tmp_path / "out")
    described = [round(row["stamp"] * FPS / 1e9) for row in rows if row["features"] is not None]
    assert described == [0, 20, 40, 60]
    assert all(len(row["features"]) == 7 for row in rows if row["features"] is not None)
