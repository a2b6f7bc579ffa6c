"""The ground shader: filtered coverage equals the painted share, whatever a pixel covers."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.lab.render.road import GroundMaps
from rtseg.lab.render.surface import Band, Dapple, Patch, Stripe, shade_ground

GRAY = Band(-1e6, (0.2, 0.2, 0.2), 0.0, 0.0)


def _flat(rows: int, columns: int, ds: float, du: float) -> GroundMaps:
    """A ground seen straight from above: rows along s, columns along u, every pixel ds by du metres."""
    s, u = np.meshgrid((np.arange(rows) + 0.5) * ds, (np.arange(columns) + 0.5) * du, indexing="ij")
    s, u = s.astype(np.float32), u.astype(np.float32)
    return GroundMaps(s, u, np.full_like(s, 10), np.zeros_like(s), np.full_like(s, ds), np.full_like(s, du))


def _white(offset: float, **more: float | tuple[tuple[float, float], ...]) -> Stripe:
    return Stripe(offset, 0.06, (1.0, 1.0, 1.0), softness=0.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("du", [0.01, 0.03, 0.1, 0.31])
def test_a_stripe_keeps_its_area_at_every_pixel_size(du: float) -> None:
    columns = round(3.0 / du)
    maps = _flat(4, columns, 0.1, du)
    image, _ = shade_ground(maps, 0.0, [GRAY], [_white(1.503)], [], [])
    share = (image[..., 0] - 0.2) / 0.8
    assert share.sum(axis=1) * du == pytest.approx(0.12, rel=0.02)


@pytest.mark.parametrize("ds", [0.05, 0.4, 3.0])
def test_dashes_keep_their_painted_share(ds: float) -> None:
    rows = round(120 / ds)
    maps = _flat(rows, 3, ds, 0.02)
    stripe = _white(0.03, period=12.0, pattern=((0.0, 0.25),))
    image, _ = shade_ground(maps, 0.0, [GRAY], [stripe], [], [])
    assert ((image[:, 1, 0] - 0.2) / 0.8).mean() == pytest.approx(0.25, abs=0.01)


def test_paint_is_anchored_to_the_road_not_to_the_vehicle() -> None:
    stripe = _white(0.5, period=6.0, pattern=((0.1, 0.5),), wear=0.5)
    patch = Patch(6, 9, 0, 1, (0.1, 0.1, 0.1), ragged=0.2)
    whole, _ = shade_ground(_flat(200, 40, 0.1, 0.025), 0.0, [GRAY], [stripe], [patch], [])
    later, _ = shade_ground(_flat(100, 40, 0.1, 0.025), 5.0, [GRAY], [stripe], [patch], [])
    assert np.abs(whole[50:150] - later).max() < 0.02


def test_the_line_index_marks_its_paint_alone() -> None:
    maps = _flat(10, 200, 0.05, 0.02)
    seam = Stripe(1.0, 0.06, (0.0, 0.0, 0.0))
    _, painted = shade_ground(maps, 0.0, [GRAY], [seam, _white(3.0, line=2)], [], [])
    columns = np.unique(np.nonzero(painted)[1])
    assert set(np.unique(painted)) == {0, 2}
    assert abs(maps.u[0, columns] - 3.0).max() < 0.08


def test_bands_lie_from_left_to_right() -> None:
    bands = [Band(2.0, (0.1, 0.1, 0.1), 0, 0), Band(1.0, (0.2, 0.2, 0.2), 0, 0), Band(-1e6, (0.3, 0.3, 0.3), 0, 0)]
    image, _ = shade_ground(_flat(2, 300, 0.1, 0.01), 0.0, bands, [], [], [])
    assert image[0, [50, 150, 250], 0] == pytest.approx([0.3, 0.2, 0.1], abs=1e-6)


def test_shadows_only_darken() -> None:
    maps = _flat(100, 100, 0.2, 0.2)
    plain, _ = shade_ground(maps, 0.0, [GRAY], [], [], [])
    dappled, _ = shade_ground(maps, 0.0, [GRAY], [], [], [Dapple(10, 0.0, 0.4, 0.3, 0, 20)])
    assert (dappled <= plain + 1e-6).all()
    assert dappled.min() == pytest.approx(0.2 * 0.4, rel=0.05)


def test_no_ground_is_black_and_unpainted() -> None:
    maps = _flat(3, 3, 1, 1)
    maps.x[:] = np.inf
    image, painted = shade_ground(maps, 0.0, [GRAY], [_white(1.0, line=1)], [], [])
    assert not image.any()
    assert not painted.any()
