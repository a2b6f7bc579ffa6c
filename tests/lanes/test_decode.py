from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, GroupingError
from rtseg.lanes import DetectedLanes, LaneDecoder, LaneDecoderSettings
from rtseg.lanes.decode import _measure
from tests.lanes.lane_logits import SIZE, Line, lane_logits, line, offsets

FOUR = [line(-300), line(330, 20), line(900, -25), line(1500)]
decode = LaneDecoder()


def check_contract(found: DetectedLanes, size: tuple[int, int] = SIZE) -> None:
    count = len(found.polylines)
    assert found.mask.shape == size
    assert found.mask.dtype == np.uint8
    assert set(np.unique(found.mask)) - {0} == set(range(1, count + 1))
    assert found.confidence.shape == (count,)
    assert found.confidence.dtype == np.float32
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    for polyline in found.polylines:
        assert polyline.dtype == np.float32
        assert len(polyline) > 1
        assert np.isfinite(polyline).all()
        assert (np.diff(polyline[:, 1]) > 0).all()
        assert (polyline >= 0).all()
        assert (polyline <= [size[1] - 1, size[0] - 1]).all()


def assert_lines(found: DetectedLanes, truth: list[Line], median: float = 0.5, worst: float = 8.0) -> None:
    """Every true line is found once, in order, and at the right place."""
    check_contract(found)
    assert len(found.polylines) == len(truth)
    for polyline, expected in zip(found.polylines, truth, strict=True):
        error = np.abs(offsets(polyline, expected))
        assert len(error) > 0.8 * np.sum((expected[:, 0] > 0) & (expected[:, 0] < 1279)) * np.diff(expected[:2, 1])[0]
        assert np.median(error) < median
        assert error.max() < worst


def test_four_lines() -> None:
    found = decode(lane_logits(FOUR), SIZE)
    assert_lines(found, FOUR)
    assert (found.confidence > 0.6).all()


def test_six_lines_is_all_a_network_has_colors_for() -> None:
    six = [line(-900), line(-300), line(300), line(900), line(1500), line(2100)]
    assert_lines(decode(lane_logits(six), SIZE), six, worst=8)


@given(st.floats(-200, 1500), st.floats(-60, 60), st.floats(300, 450), st.floats(560, 719))
@settings(max_examples=25)
def test_one_line_anywhere_to_a_fraction_of_a_pixel(bottom: float, bend: float, top: float, end: float) -> None:
    truth = line(bottom, bend, top, end)
    found = decode(lane_logits([truth]), SIZE)
    check_contract(found)
    assert len(found.polylines) == 1
    error = offsets(found.polylines[0], truth)
    # A cell of the network is 16 x 15 pixels; where a line ends, or leaves the image, less is known of it.
    assert np.median(np.abs(error)) < 1.5
    assert np.percentile(np.abs(error), 90) < 3.5
    assert abs(found.polylines[0][0, 1] - truth[0, 1]) < 16
    inside = truth[(truth[:, 0] > 0) & (truth[:, 0] < 1279)]
    assert abs(found.polylines[0][-1, 1] - inside[-1, 1]) < 16


@given(st.permutations([1, 2, 3, 4, 5, 6]))
@settings(max_examples=15)
def test_renaming_colors_changes_nothing(order: list[int]) -> None:
    logits = lane_logits(FOUR, noise=0.3)
    found, renamed = decode(logits, SIZE), decode(logits[[0, *order]], SIZE)
    np.testing.assert_array_equal(found.mask, renamed.mask)
    np.testing.assert_allclose(found.confidence, renamed.confidence, rtol=1e-5)
    for one, other in zip(found.polylines, renamed.polylines, strict=True):
        np.testing.assert_array_equal(one, other)


def test_mirror_image_gives_mirrored_lines() -> None:
    logits = lane_logits(FOUR)
    found, mirrored = decode(logits, SIZE), decode(np.ascontiguousarray(logits[..., ::-1]), SIZE)
    for one, other in zip(found.polylines, mirrored.polylines[::-1], strict=True):
        np.testing.assert_array_equal(one[:, 1], other[:, 1])
        np.testing.assert_allclose(one[:, 0], 1279 - other[:, 0], atol=0.05)


def test_works_at_other_sizes() -> None:
    logits = lane_logits(FOUR)
    for height, width in ((360, 640), (1080, 1920), (192, 320), (721, 1279)):
        found = decode(logits, (height, width))
        check_contract(found, (height, width))
        scale = np.array([width / 1280, height / 720])
        assert len(found.polylines) == 4
        for polyline, expected in zip(found.polylines, FOUR, strict=True):
            error = offsets(polyline, (expected + 0.5) * scale - 0.5)
            assert np.median(np.abs(error)) < max(0.5, 1.0 * scale[0])


def test_left_to_right_is_by_the_bottom() -> None:
    # The short stub lies right of the long line, but would meet the bottom far to its left.
    stub = np.stack([np.linspace(600, 300, 40), np.linspace(330, 430, 40)], axis=1)
    found = decode(lane_logits([line(400), stub]), SIZE)
    assert len(found.polylines) == 2
    assert found.polylines[0][-1, 1] < 500


def test_nothing_to_see() -> None:
    empty = decode(lane_logits([]), SIZE)
    check_contract(empty)
    assert not empty.mask.any()
    assert empty.polylines == ()


def test_noise_is_no_lane() -> None:
    logits = lane_logits(FOUR, noise=0.4)
    rng = np.random.default_rng(1)
    for _ in range(25):  # single cells light up
        logits[rng.integers(1, 7), rng.integers(0, 18), rng.integers(0, 80)] = 3
    assert_lines(decode(logits, SIZE), FOUR, median=1.5, worst=15)


def test_a_broken_line_is_one_line() -> None:
    whole = line(300)
    logits = lane_logits([whole])
    whole_confidence = decode(logits, SIZE).confidence[0]
    for first, last in ((26, 29), (33, 37), (41, 44)):
        logits[1, first:last] = -6
    found = decode(logits, SIZE)
    assert_lines(found, [whole], median=0.7)
    assert not found.mask[27 * 15 : 28 * 15].any(), "the mask shows what was seen, the polyline what it means"
    assert 0.3 < found.confidence[0] < whole_confidence - 0.1


def test_one_line_in_two_colors_is_one_line() -> None:
    whole = line(300)
    logits = lane_logits([whole])
    logits[2, 33:], logits[1, 33:] = logits[1, 33:].copy(), -6
    assert_lines(decode(logits, SIZE), [whole])


def test_one_color_twice_is_two_lines() -> None:
    assert_lines(decode(lane_logits(FOUR, colors=[1, 2, 1, 2]), SIZE), FOUR)


def test_lines_of_one_color_that_meet_far_ahead_are_two_lines() -> None:
    pair = [line(350, far=640), line(950, far=648)]
    found = decode(lane_logits(pair, colors=[3, 3]), SIZE)
    check_contract(found)
    assert len(found.polylines) == 2
    for polyline, expected in zip(found.polylines, pair, strict=True):
        near = offsets(polyline[polyline[:, 1] > 420], expected)
        assert np.median(np.abs(near)) < 1
        assert polyline[-1, 1] > 710


def test_touching_lines_of_two_colors_are_two_lines() -> None:
    pair = [line(600, far=640), line(720, far=650)]
    assert_lines(decode(lane_logits(pair), SIZE), pair, median=3, worst=12)


def test_one_stroke_in_two_colors_side_by_side_is_one_line() -> None:
    truth = line(300)
    found = decode(lane_logits([np.add(truth, [-8, 0]), np.add(truth, [8, 0])], stroke=14), SIZE)
    check_contract(found)
    assert len(found.polylines) == 1
    assert np.median(np.abs(offsets(found.polylines[0], truth))) < 2


def test_flat_lines_whose_strokes_touch_are_two_lines() -> None:
    pair = [line(3000), line(4400)]  # they leave the image at its side; a row holds hundreds of pixels of each
    found = decode(lane_logits(pair, stroke=20), SIZE)
    check_contract(found)
    assert len(found.polylines) == 2


@pytest.mark.parametrize("edge", [-900, 2180])
def test_nearly_flat_lines_at_the_side(edge: float) -> None:
    flat = line(edge)
    found = decode(lane_logits([flat]), SIZE)
    assert_lines(found, [flat], worst=5)
    polyline = found.polylines[0]
    assert min(polyline[-1, 0], 1279 - polyline[-1, 0]) < 40, "it is followed to the side of the image"


def test_confidence_grows_with_evidence() -> None:
    logits = lane_logits([line(300)])
    confidences = []
    for strength in (0.4, 0.7, 1.0, 2.0):
        stronger = logits.copy()
        stronger[1:] *= np.where(logits[1:] > 0, strength, 1)
        confidences.append(float(decode(stronger, SIZE).confidence[0]))
    assert confidences == sorted(confidences)
    lengths = [float(decode(lane_logits([line(300, end=end)]), SIZE).confidence[0]) for end in (360, 400, 719)]
    assert lengths == sorted(lengths)
    assert lengths[0] < 0.75 * lengths[-1]


def test_settings() -> None:
    logits = lane_logits(FOUR)
    assert len(LaneDecoder(LaneDecoderSettings(max_lines=2))(logits, SIZE).polylines) == 2
    assert len(LaneDecoder(LaneDecoderSettings(min_confidence=0.999))(logits, SIZE).polylines) == 0
    with pytest.raises(ArgumentError, match="max_lines"):
        LaneDecoderSettings(max_lines=256)
    with pytest.raises(ArgumentError, match="min_area"):
        LaneDecoderSettings(min_area=-1)
    with pytest.raises(ArgumentError, match="smoothing"):
        LaneDecoderSettings(smoothing=float("nan"))


def test_refuses_logits_that_are_not_finite() -> None:
    logits = lane_logits(FOUR)
    logits[3, 20, 20] = np.nan
    with pytest.raises(GroupingError, match="finite"):
        decode(logits, SIZE)
    with pytest.raises(ArgumentError, match="C, h, w"):
        decode(logits[0], SIZE)


@given(
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9).flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=st.sampled_from([-5.0, 0.0, 1.0, 5.0]))
    ),
    st.sampled_from([(1, 1), (3, 200), (200, 3), (64, 90)]),
)
def test_garbage_keeps_the_contract(logits: NDArray[np.float32], size: tuple[int, int]) -> None:
    check_contract(decode(logits, size), size)


@given(st.integers(2, 90), st.integers(0, 2**32 - 1))
def test_a_line_is_measured_as_by_numpy_to_the_last_bit(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    top, size = int(rng.integers(0, 20)), (120, 200)
    polyline = np.stack([rng.uniform(0, 199, count), np.arange(top, top + count)], 1).astype(np.float32)
    widths = (rng.integers(0, 9, 120) * (rng.random(120) < 0.8)).astype(np.float32)
    widths[top] = 5
    logits = rng.normal(0, 3, (4, 12, 20)).astype(np.float32)
    seen, probability, evidence, stroke = _measure(polyline, widths, logits, *size)
    strokes = widths[polyline[:, 1].astype(int)]
    np.testing.assert_array_equal(seen, strokes > 0)
    supported = polyline[strokes > 0]
    assert len(probability) == len(supported[::4])
    assert evidence == float(np.percentile(probability, 10)) * (len(supported) / len(polyline))
    slope = float(np.median(np.abs(np.diff(polyline[:, 0]))))
    assert stroke == float(np.median(strokes[strokes > 0])) / np.sqrt(1 + slope * slope)
    # The probability itself, by resizing whole maps.
    exponents = np.exp(logits.astype(np.float64) - logits[0])
    at = (supported[::4].astype(np.float64) + 0.5) * [20 / 200, 12 / 120] - 0.5
    on_cells = np.isclose(at, np.rint(at)).all(1) & (at >= 0).all(1) & (at <= [19, 11]).all(1)
    for (x, y), value in zip(np.rint(at[on_cells]).astype(int), probability[on_cells], strict=True):
        np.testing.assert_allclose(value, 1 - 1 / exponents[:, y, x].sum(), rtol=1e-4)


def test_lines_are_painted_with_any_values() -> None:
    found = decode(lane_logits(FOUR, noise=0.2), SIZE)
    values = np.array([7, 0, 255, 7], np.uint8)
    np.testing.assert_array_equal(found.painted(values), np.r_[np.uint8(0), values][found.mask])
    rows, columns = np.nonzero(found.mask)
    x = np.array(
        [
            np.interp(r, found.polylines[v - 1][:, 1], found.polylines[v - 1][:, 0])
            for r, v in zip(rows, found.mask[rows, columns], strict=True)
        ]
    )
    assert np.median(np.abs(x - columns)) < 15, "each has its own line's pixels"


def test_a_line_whose_middle_is_out_of_sight_is_none_at_any_length() -> None:
    colors = np.zeros((120, 200), np.uint8)
    colors[:, 0] = 1
    logits = np.zeros((2, 12, 20), np.float32)
    for least in (0.0, 0.06):
        found = LaneDecoder(LaneDecoderSettings(min_length=least)).decode_colors(colors, logits)
        assert all(len(line) for line in found.polylines)
