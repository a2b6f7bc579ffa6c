"""What a road, its light and its camera can be like: one frozen record, drawn from one random generator.

Spacing, offsets and horizons follow what 3,389 hand-labelled highway frames (TuSimple) show: the ratio of lane width to
camera height has median 2.19 (1.84 to 2.67 from the 5th to the 95th percentile), the vehicle sits at 0.46 of its lane
(0.32 to 0.61), the horizon at 0.33 of the picture, 66 % of frames show four lines, 27 % three, 7 % five.
The ranges here are wider, since a network has to hold on roads nobody labelled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

WHITE = (0.93, 0.93, 0.92)
YELLOW = (0.13, 0.66, 0.90)  # BGR


@dataclass(frozen=True)
class LineStyle:
    """One lane line as a driver counts them; a double stripe is one line.

    Attributes:
        offset: u of the line where the road is regular, metres.
        kind: solid, dashed, double, dashed_solid, solid_dashed, dots; none where the lanes are not marked.
        color: BGR reflectance.
        width: of one stripe, metres.
        period, painted: of the dashes, metres.
        wear: 0 fresh to 1 nearly gone.
        shift, taper_start, taper_length: the line moves by `shift` metres along a taper (merges, exits); 0 for none.
    """

    offset: float
    kind: str = "solid"
    color: tuple[float, float, float] = WHITE
    width: float = 0.12
    period: float = 12.2
    painted: float = 3.6
    wear: float = 0.2
    shift: float = 0.0
    taper_start: float = 0.0
    taper_length: float = 60.0


@dataclass(frozen=True)
class RoadStyle:
    """Everything that is decided about a scene before it is built; see `sample_style` for the ranges.

    Lengths are in metres, angles in radians, curvature in 1/m (positive bends left); `horizon` is a part of the image
    height, `focal` of its width; `left_edge` and `right_edge` are the u of the pavement's ends. `own_lane` counts from
    the left, `own_offset` is where in it the vehicle is (0 left line, 1 right line). `label_reach` is how far ahead
    lines are labelled; `parked` is the part of the kerb, left and right, along which vehicles stand; `stray` scales how
    far exposure, color, noise and lens leave the ordinary.
    """

    setting: str
    lighting: str
    weather: str
    visibility: float
    surface: str
    lines: tuple[LineStyle, ...]
    own_lane: int
    own_offset: float
    own_heading: float
    curvature: float
    hilliness: float
    left_edge: float
    right_edge: float
    left_border: str
    right_border: str
    oncoming: bool
    median: float
    traffic: float
    clutter: float
    hood: str
    camera_height: float
    horizon: float
    focal: float
    roll: float
    yaw: float
    distortion: float
    label_reach: float
    parked: tuple[float, float] = (0.0, 0.0)
    stray: float = 1.0

    def describe(self) -> dict[str, str | float | list[str]]:
        """Conditions by which scores are grouped."""
        bend = abs(self.curvature)
        return {
            "setting": self.setting,
            "lighting": self.lighting,
            "weather": self.weather,
            "surface": self.surface,
            "curvature": "straight" if bend < 4e-4 else "gentle" if bend < 2.5e-3 else "sharp",
            "markings": [line.kind for line in self.lines],
            "wear": round(float(np.mean([line.wear for line in self.lines])), 3),
            "traffic": round(self.traffic, 3),
        }


def _as_a_street(style: RoadStyle, rng: np.random.Generator) -> RoadStyle:
    """Take away paint as on most streets: kerbs without edge lines, at times no line at all, and vehicles at the kerb.

    A network that has only ever seen marked roads finds lines on every road.
    """
    bare = rng.random() < (0.35 if style.setting == "city" else 0.2)
    edges = rng.random(2) < (0.7 if style.setting == "city" else 0.15)
    rows = rng.uniform(0.1, 1.0, 2) * (rng.random(2) < (0.55 if style.setting == "city" else 0.0))
    last = len(style.lines) - 1
    lines = tuple(
        replace(line, kind="none") if bare or (i == 0 and edges[0]) or (i == last and edges[1]) else line
        for i, line in enumerate(style.lines)
    )
    surface = "cobbles" if style.setting == "city" and rng.random() < (0.4 if bare else 0.05) else style.surface
    return replace(style, lines=lines, surface=surface, parked=(float(rows[0]), float(rows[1])))


def _pick(rng: np.random.Generator, **weights: float) -> str:
    total = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=total / total.sum()))


def _color(values: np.ndarray) -> tuple[float, float, float]:
    b, g, r = (float(v) for v in np.clip(values, 0.02, 1.0))
    return b, g, r


def _lines(
    rng: np.random.Generator, setting: str, lane_width: float, worst: float
) -> tuple[tuple[LineStyle, ...], int, bool]:
    """Lines left to right (u falls), the number of lanes in the other direction, and whether it shares the road."""
    count = int(rng.choice([2, 3, 4, 5, 6], p=[0.04, 0.17, 0.52, 0.18, 0.09]))
    undivided = setting in ("country", "mountain") or (setting == "city" and rng.random() < 0.7)
    if setting in ("country", "mountain"):
        count = int(rng.choice([2, 3, 4], p=[0.22, 0.63, 0.15]))
    american = rng.random() < (0.75 if setting == "highway" else 0.35)
    period, painted = (
        (12.2, 3.05 + rng.uniform(0, 0.8))
        if american
        else [(9, 3), (12, 3), (12, 6), (18, 6), (6, 3), (15, 10)][rng.integers(6)]
    )
    period, painted = period * rng.uniform(0.9, 1.1), painted * rng.uniform(0.85, 1.15)
    width = rng.uniform(0.10, 0.16) if rng.random() < 0.8 else rng.uniform(0.15, 0.22)
    wear = float(np.clip(rng.beta(1.2, 3.0), 0, 0.85))
    white = _color(np.array(WHITE) * rng.uniform(0.62, 1.05) + rng.normal(0, 0.015, 3))
    yellow = np.array(YELLOW) * rng.uniform(0.65, 1.05) + rng.normal(0, 0.03, 3)
    if rng.random() < 0.25:
        yellow = yellow + np.array([0.22, 0.12, 0.0])  # sun-bleached
    dots = american and rng.random() < 0.22
    widths = lane_width * (1 + rng.normal(0, 0.03, count - 1)) if count > 1 else np.empty(0)
    if rng.random() < 0.15:
        widths[rng.integers(count - 1)] *= rng.uniform(0.8, 1.35)
    offsets = -np.concatenate([[0.0], np.cumsum(widths)])
    against = 0
    if undivided:
        against = 0 if count == 2 and rng.random() < 0.5 else int(rng.integers(1, max(2, count - 1)))
        against = min(against, count - 2)
    lines = []
    for i, offset in enumerate(offsets):
        inner = 0 < i < count - 1
        kind, color = ("dots" if dots else "dashed") if inner else "solid", white
        if undivided and i == against and against > 0:
            kind = _pick(rng, solid=0.25, dashed=0.3, double=0.3, dashed_solid=0.08, solid_dashed=0.07)
            color = _color(yellow) if rng.random() < (0.8 if american else 0.25) else white
        elif i == 0 and not undivided:
            color = _color(yellow) if rng.random() < (0.75 if american else 0.12) else white
            kind = _pick(rng, solid=0.83, double=0.07, dashed=0.10)
        elif inner:
            kind = _pick(rng, **{kind: 0.84, "solid": 0.10, "double": 0.06})
        elif rng.random() < 0.15:
            kind = "dashed"
        local = (period, painted)
        if kind == "dashed" and not inner and rng.random() < 0.6:
            local = (rng.uniform(1.5, 6), rng.uniform(0.6, 1.5))  # short dashes along exits and bus lanes
            local = (local[0], min(local[1], 0.6 * local[0]))
        lines.append(
            LineStyle(
                offset=float(offset),
                kind=kind,
                color=color,
                width=float(width * (rng.uniform(1.0, 1.6) if not inner else 1.0)),
                period=float(local[0]),
                painted=float(local[1]),
                wear=float(np.clip(wear + rng.normal(0, 0.12), 0, worst)),
            )
        )
    if rng.random() < 0.12 and count >= 3:  # a merge or an exit: the outermost line leaves or comes in
        side = 0 if rng.random() < 0.3 else count - 1
        shift = float((1 if side == 0 else -1) * lane_width * rng.choice([-0.85, 0.8, 1.2, 2.0]))
        old = lines[side]
        lines[side] = LineStyle(
            **{
                **old.__dict__,
                "shift": shift,
                "taper_start": float(rng.uniform(0, 70)),
                "taper_length": float(rng.uniform(40, 120)),
            }
        )
    return tuple(lines), against, undivided


def sample_style(rng: np.random.Generator, demo: bool = False) -> RoadStyle:
    """Draw a scene.

    Args:
        rng: where chance comes from.
        demo: keep to a dry highway by day.
    """
    setting = _pick(rng, highway=0.46, motorway=0.16, city=0.16, country=0.12, mountain=0.10)
    lighting = _pick(rng, sun=0.50, overcast=0.22, dusk=0.11, night=0.17)
    weather = _pick(rng, clear=0.78, rain=0.12, fog=0.10)
    if demo:
        setting, lighting, weather = "highway", "sun", "clear"
    # Koschmieder: 5 % of a thing's contrast is left at this distance.
    visibility = (
        float(np.exp(rng.uniform(np.log(50), np.log(400)))) if weather == "fog" else float(rng.uniform(700, 9000))
    )
    surface = _pick(rng, asphalt=0.42, fresh=0.18, concrete=0.26, worn=0.14)
    height = float(rng.uniform(1.25, 1.8) if rng.random() < 0.75 else rng.uniform(1.1, 2.2))
    wide = setting in ("highway", "motorway")
    lane_width = float(np.clip(rng.normal(3.6, 0.14) if wide else rng.normal(3.25, 0.25), 2.7, 4.0))
    if wide and rng.random() < 0.8:
        lane_width = float(np.clip(height * rng.normal(2.2, 0.2), 3.0, 4.0))
    # What is worn away can still be seen by day, hardly by night.
    worst = 0.8 if lighting in ("sun", "overcast") and weather == "clear" else 0.5
    lines, against, undivided = _lines(rng, setting, lane_width, worst)
    lanes = len(lines) - 1
    own = int(rng.integers(against, lanes)) if lanes > against else lanes - 1
    across = float(np.clip(rng.normal(0.47, 0.09), 0.2, 0.8) if rng.random() < 0.85 else rng.uniform(-0.1, 1.1))
    # Real roads are mostly straight, with heavy tails: the quadratic term of labelled lines has quartiles near 0 and
    # 5th and 95th percentiles at +-41 px per (100 rows)^2 at 1280x720.
    sharp = {"highway": 1.6e-3, "motorway": 1.6e-3, "city": 1.8e-3, "country": 4.5e-3, "mountain": 1.0e-2}[setting]
    straight = 0.45 if wide else 0.25
    bend = float(rng.normal(0, sharp / 12)) if rng.random() < straight else float(rng.normal(0, sharp))
    hilly = {"highway": 0.4, "motorway": 0.4, "city": 0.5, "country": 1.0, "mountain": 1.5}[setting]
    borders: dict[str, dict[str, float]] = {
        "highway": {"wall": 0.4, "rail": 0.25, "none": 0.35},
        "motorway": {"wall": 0.15, "rail": 0.55, "none": 0.3},
        "city": {"curb": 0.75, "wall": 0.1, "none": 0.15},
        "country": {"none": 0.75, "rail": 0.25},
        "mountain": {"none": 0.35, "rail": 0.45, "wall": 0.2},
    }
    shoulder = {"highway": 2.2, "motorway": 2.2, "city": 0.5, "country": 0.5, "mountain": 0.5}[setting]
    near, far = rng.uniform(0.15, 1.3, 2) * shoulder
    style = RoadStyle(
        setting=setting,
        lighting=lighting,
        weather=weather,
        visibility=visibility,
        surface=surface,
        lines=lines,
        own_lane=own,
        own_offset=across,
        own_heading=float(np.clip(rng.normal(0, 0.008), -0.03, 0.03)),
        curvature=bend,
        hilliness=float(hilly * rng.uniform(0, 1.3)),
        left_edge=float(lines[0].offset + near + 0.25),
        right_edge=float(lines[-1].offset - far - 0.25),
        left_border=_pick(rng, **borders[setting]),
        right_border=_pick(rng, **borders[setting]),
        oncoming=bool(undivided or rng.random() < 0.6),
        median=float(rng.uniform(0.5, 3.0) if rng.random() < 0.6 else rng.uniform(3, 18)),
        traffic=float(rng.beta(1.3, 2.2)),
        clutter=float(rng.beta(1.2, 2.0)),
        hood=_pick(rng, none=0.7, dark=0.12, body=0.1, mirror=0.08),
        camera_height=height,
        horizon=float(np.clip(rng.normal(0.35, 0.04), 0.27, 0.5) if rng.random() < 0.5 else rng.uniform(0.32, 0.62)),
        focal=float(np.clip(rng.normal(0.85, 0.17), 0.55, 1.4)),
        roll=float(np.clip(rng.normal(0, 0.012), -0.035, 0.035)),
        yaw=float(np.clip(rng.normal(0, 0.02), -0.07, 0.07)),
        distortion=float(rng.normal(0, 0.05)),
        label_reach=float(min(rng.uniform(85, 115), 15 + visibility, 75 if lighting == "night" else 200)),
    )
    return _as_a_street(style, rng) if setting in ("city", "country") and not demo else style
