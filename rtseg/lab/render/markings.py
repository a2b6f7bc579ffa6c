"""Lane lines as painted stripes, and everything on the road that looks like one and is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.style import LineStyle, RoadStyle
from rtseg.lab.render.surface import Patch, Stripe

CHUNK = 60.0  # metres of road whose patches are drawn from one seed


def line_offset(line: LineStyle, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """u of a lane line at arc lengths `s` (anchored to the road), metres."""
    t = np.clip((np.asarray(s) - line.taper_start) / line.taper_length, 0, 1)
    return line.offset + line.shift * t * t * (3 - 2 * t)


def lane_stripes(style: RoadStyle, rng: np.random.Generator) -> list[Stripe]:
    """Stripes of all marked lane lines; line i of the style carries id i + 1."""
    stripes: list[Stripe] = []
    phase = float(rng.uniform(0, 30))
    scatter = float(rng.choice([0.0, rng.uniform(0, 12)]))
    for i, line in enumerate(style.lines):
        half = line.width / 2
        dashes = ((0.0, line.painted / line.period),)
        apart = half + float(rng.uniform(0.04, 0.12))
        common = {
            "wear": line.wear,
            "shift": line.shift,
            "taper_start": line.taper_start,
            "taper_length": line.taper_length,
            "phase": phase + scatter * i,
            "line": i + 1,
        }

        def stripe(offset: float, pattern: tuple[tuple[float, float], ...], **more: float) -> Stripe:
            return Stripe(
                offset=line.offset + offset,  # noqa: B023
                half_width=more.pop("half_width", half),  # noqa: B023
                color=line.color,  # noqa: B023
                period=more.pop("period", line.period if pattern else 0.0),  # noqa: B023
                pattern=pattern,
                **{**common, **more},  # type: ignore[arg-type]  # noqa: B023
            )

        if line.kind == "none":
            continue
        if line.kind == "dots":
            # Four raised dots, a gap, and now and then a reflector: 14.6 m in California.
            gaps = np.arange(4) * 1.22
            dots = tuple((float(g / 14.6), float((g + 0.12) / 14.6)) for g in gaps)
            stripes.append(stripe(0.0, dots, half_width=0.055, period=14.6, wear=line.wear * 0.4, opacity=1.2))
            continue
        left = dashes if line.kind in ("dashed", "dashed_solid") else ()
        if line.kind in ("double", "dashed_solid", "solid_dashed"):
            right = dashes if line.kind == "solid_dashed" else ()
            stripes.append(stripe(apart, left))
            stripes.append(stripe(-apart, right))
        else:
            stripes.append(stripe(0.0, left))
            if line.kind == "dashed" and rng.random() < 0.3:
                reflector = ((0.75, 0.75 + 0.1 / line.period),)
                stripes.append(stripe(0.0, reflector, half_width=0.05, wear=0.0))
    return stripes


def misleading_stripes(style: RoadStyle, rng: np.random.Generator) -> list[Stripe]:
    """Seams, joints, tyre tracks and old paint that run along the road and are no lane lines."""
    stripes: list[Stripe] = []
    left, right = style.left_edge, style.right_edge
    centers = [(a.offset + b.offset) / 2 for a, b in zip(style.lines, style.lines[1:], strict=False)]
    lane = abs(style.lines[0].offset - style.lines[1].offset)
    tracks = rng.uniform(0.0, 0.5)
    concrete = style.surface == "concrete"
    for center in centers:
        dark = float(rng.uniform(0.05, 0.3))
        if concrete or rng.random() < 0.4:  # oil in the middle of the lane
            stripes.append(Stripe(center, 0.3, (dark,) * 3, float(rng.uniform(0.05, 0.35)), softness=0.5, wobble=0.15))
        for side in (-0.8, 0.8):
            tone = float(rng.choice([0.1, 0.35]))
            stripes.append(Stripe(center + side, 0.2, (tone,) * 3, 0.4 * tracks, softness=0.35, wobble=0.12))
    if concrete:
        for line in style.lines:  # slab joints lie beside the paint
            if rng.random() < 0.8:
                at = line.offset + float(rng.normal(0, 0.25))
                stripes.append(Stripe(at, 0.012, (0.12,) * 3, 0.8, softness=0.015, wear=0.3, wobble=0.03))
    for _ in range(rng.poisson(1.6 * style.clutter + 0.2)):  # tar seams and cracks
        at = float(rng.uniform(right, left))
        stripes.append(
            Stripe(
                at,
                float(rng.uniform(0.015, 0.09)),
                (float(rng.uniform(0.03, 0.12)),) * 3,
                float(rng.uniform(0.4, 0.95)),
                softness=0.03,
                wear=float(rng.uniform(0, 0.8)),
                wobble=float(rng.uniform(0.0, 0.3)),
            )
        )
    other = across_the_median(style)
    if other:  # the other carriageway's lines are not ours
        near, far = other
        for at in np.linspace(near + 0.6, far - 0.6, int(rng.integers(3, 5))):
            outer = at < near + 1 or at > far - 1
            pattern = () if outer else ((0.0, 0.3),)
            stripes.append(Stripe(float(at), 0.07, (0.8, 0.8, 0.8), 0.9, wear=0.3, period=12.0, pattern=pattern))
    if rng.random() < 0.12:  # the ghost of paint that was ground off
        at = float(rng.choice(centers) + rng.normal(0, 0.3 * lane))
        stripes.append(Stripe(at, 0.07, (0.36, 0.37, 0.38), 0.35, softness=0.05, wear=0.6, wobble=0.1))
    return stripes


def across_the_median(style: RoadStyle) -> tuple[float, float] | None:
    """u of the near and far edge of the other carriageway, None where the road has none."""
    if not (style.oncoming and style.setting in ("highway", "motorway")):
        return None
    near = style.left_edge + style.median
    return near, near + 2.2 + 3 * 3.6


def chunk_patches(style: RoadStyle, seed: int, first: float, last: float) -> list[Patch]:
    """Repairs, joints across the road, skid marks, crossings and shadows between arc lengths `first` and `last`."""
    patches: list[Patch] = []
    left, right = style.left_edge, style.right_edge
    build = np.random.default_rng([seed, 11])
    slab = float(build.uniform(3.6, 6.0))
    joints = style.surface == "concrete" and build.random() < 0.7
    shadows = style.lighting == "sun" and build.random() < 0.55
    skew = float(build.normal(0, 0.5))
    if joints:
        for k in range(int(first // slab), int(min(last, first + 130) // slab) + 1):
            patches.append(Patch(k * slab, k * slab + 0.03, right, left, (0.15,) * 3, 0.6, soft=0.015, skew=0.1))
    for chunk in range(int(first // CHUNK), int(last // CHUNK) + 1):
        rng = np.random.default_rng([seed, 12, chunk & 0xFFFFFFFF])
        base = chunk * CHUNK
        for _ in range(rng.poisson(0.9 * style.clutter)):  # repaired or resurfaced rectangles
            s, u = base + rng.uniform(0, CHUNK), rng.uniform(right, left)
            tone = float(rng.choice([rng.uniform(0.04, 0.2), rng.uniform(0.3, 0.55)]))
            patches.append(
                Patch(s, s + float(rng.uniform(1, 25)), u - float(rng.uniform(0.4, 3)), u, (tone,) * 3,
                      float(rng.uniform(0.2, 0.8)), soft=0.05, ragged=0.05)
            )  # fmt: skip
        if rng.random() < 0.25 * style.clutter:  # a whole width of other asphalt or a bridge deck
            s = base + rng.uniform(0, CHUNK)
            tone = float(rng.uniform(0.1, 0.6))
            end = s + float(rng.uniform(3, 45))
            patches.append(Patch(s, end, right, left, (tone,) * 3, float(rng.uniform(0.3, 0.85)), 0.05, 0.03, 0.05))
            patches.append(Patch(end, end + 0.12, right, left, (0.06,) * 3, 0.8, 0.02, 0.0, 0.05))
        for _ in range(rng.poisson(0.5 * style.clutter)):  # skid marks
            s, u = base + rng.uniform(0, CHUNK), rng.uniform(right, left)
            slant = float(rng.normal(0, 0.002))
            for side in (0.0, 1.5):
                patches.append(
                    Patch(s, s + float(rng.uniform(8, 30)), u + side, u + side + 0.2, (0.05,) * 3,
                          float(rng.uniform(0.2, 0.7)), soft=0.06, skew=slant)
                )  # fmt: skip
        if style.setting == "city" and rng.random() < 0.2:
            patches += _crossing(base + rng.uniform(0, CHUNK), left, right, rng)
        if shadows:
            for _ in range(rng.poisson(0.9)):  # poles, gantries, bridges, walls, trees
                s = base + rng.uniform(0, CHUNK)
                long = float(rng.choice([0.25, 0.6, rng.uniform(4, 18)], p=[0.45, 0.25, 0.3]))
                reach = float(rng.uniform(right - 10, left))
                dark = float(rng.uniform(0.25, 0.6))
                patches.append(
                    Patch(s, s + long, reach if long < 1 else right - 30, left + 30,
                          (dark * 1.1, dark, dark * 0.95), 1.0, 0.04, float(rng.choice([0.0, 0.0, 0.15])), skew, True)
                )  # fmt: skip
    return patches


def _crossing(s: float, left: float, right: float, rng: np.random.Generator) -> list[Patch]:
    """A crossing, zebra or two lines, and the stop line before it."""
    white = (0.8, 0.8, 0.8)
    if rng.random() < 0.6:
        across = [
            Patch(s, s + 3.2, right + k, right + k + 0.5, white, 0.8, 0.02, 0.03) for k in range(int(left - right))
        ]
    else:
        across = [Patch(at, at + 0.3, right, left, white, 0.8, 0.02, 0.02) for at in (s, s + 3)]
    return [*across, Patch(s - 1.6, s - 1.2, right, left, white, 0.8, 0.02, 0.02)]
