"""Where one can drive and what is in the way, on a flat ground, of surfaces and objects that were found.

A class is drivable, is other ground (a sidewalk), or stands on the ground. Of what stands only the foot is on the
ground where the picture shows it; what is above, and the ground behind it, is not seen. All of it is worked out on
every n-th pixel, as :mod:`rtseg.messages.layer` has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lanes.ground import GroundPlane
from rtseg.messages.grid import ASIDE, CELL, OCCUPIED, UNKNOWN, Grid, empty_cells
from rtseg.messages.layer import GROUND_TYPE, ground_points, sampled, sampled_box, sampled_columns, sampled_rows
from rtseg.results import Instances

if TYPE_CHECKING:
    from rtseg.runtime import ModelCard

FREE = 0
SURE = 0.5
"""Confidence from which on what is drivable is free."""

FINEST = 1.0
"""Metres of ground behind each other in one pixel, beyond which no cell is told to be free or occupied by surfaces."""

TALL = 2.0
"""Metres from which on what stands may have a tail that hangs over the ground, as lorries and buses do."""

TAIL = 4.0
"""Metres of such a tail: as far before the foot of what is tall nothing is free."""

NOTHING, DRIVABLE, OTHER, STANDING, FOOT, UNDER = range(6)
"""What a pixel shows: no class, one that is not sure, or ground that something may hang over; what may be driven on;
other ground; what stands on the ground, or is beneath it; where it stands; and where its outline closes, beneath it,
between its feet."""

_TOLD = np.array([UNKNOWN, FREE, OCCUPIED, UNKNOWN, OCCUPIED, OCCUPIED], np.int8)  # by what is shown
_SHOWN = np.array([np.nan, 1, 1, np.nan, 1, np.nan], np.float32)


@dataclass(frozen=True)
class Surfaces:
    """What a model's classes are to who drives. Those that do not lie on the ground stand on it.

    Attributes:
        drivable: (n,) int32 indices of those that lie on the ground and may be driven on.
        other: (m,) int32 indices of the rest of those that lie on the ground.
        things: (k,) int32 indices of those whose instances are objects, each in one piece.
    """

    drivable: NDArray[np.int32]
    other: NDArray[np.int32]
    things: NDArray[np.int32]

    @property
    def tell_free(self) -> bool:
        """Whether there are any that may be driven on."""
        return len(self.drivable) > 0


def surfaces_of(card: ModelCard) -> Surfaces:
    """Read what a card's grouping says of its classes: ``drivable``, ``ground`` and, if semantic, ``things``."""
    given = card.grouping.parameters
    names = {name: set(given.get(name) or ()) for name in ("drivable", "ground", "things")}
    if card.grouping.method != "semantic":
        names["things"] = set(card.classes)
    names["ground"] -= names["drivable"]
    numbers = (
        np.array([i for i, each in enumerate(card.classes) if each in names[kind]], np.int32)
        for kind in ("drivable", "ground", "things")
    )
    return Surfaces(*numbers)


class Ground:
    """A camera's ground: where each pixel lies, and which pixel shows each cell of a grid; the same for all frames.

    Args:
        plane: of a camera of the frames' size.

    Attributes:
        points: (h, w) of :data:`rtseg.messages.GROUND_TYPE`, of :func:`rtseg.messages.ground_points`.
    """

    def __init__(self, plane: GroundPlane) -> None:
        self.points = ground_points(plane)
        self._plane = plane
        self._at = _cell_pixels(plane, self.points)

    def seen(self, kinds: NDArray[np.uint8]) -> NDArray[np.void]:
        """``ground/points`` of one frame: NaN also where nothing is known, or what stands hides the ground.

        Args:
            kinds: of :func:`surface_kinds`.
        """
        numbers = self.points.view("<f4").reshape(*kinds.shape, -1)
        return (numbers * _SHOWN[kinds][..., None]).view(GROUND_TYPE)[..., 0]

    def free_space(self, kinds: NDArray[np.uint8]) -> Grid:
        """``free_space``: what each cell of the ground is.

        :data:`FREE` where a drivable surface is seen, :data:`OCCUPIED` on other ground and on the feet of what stands,
        else :data:`UNKNOWN`: behind what stands, and where a pixel is more than :data:`FINEST` deep.

        Args:
            kinds: of :func:`surface_kinds`.
        """
        cells = empty_cells()
        shown = self._at >= 0
        cells[shown] = _TOLD[kinds.reshape(-1)[self._at[shown]]]
        # Near the camera a foot is thinner than a cell, and farther off than that of any cell's middle.
        cells[_cells_of(self.points[kinds >= FOOT])[:2]] = OCCUPIED
        return Grid(cells, (0.0, -ASIDE), CELL)

    def reaches(self, row: int, feet: NDArray[np.void]) -> bool:
        """Whether what stands on these of the points, (k,), and is seen up to a row of them is :data:`TALL`."""
        at = feet[np.isfinite(feet["x"])]
        if not len(at):
            return False
        near = at[np.argmin(at["x"])]
        top = self._plane.unproject(np.array([[near["x"], near["y"], TALL]], np.float64))[0, 1]
        rows = sampled_rows(self._plane.camera)
        return bool(rows[row] <= max(top, rows[0]))  # what goes on above the picture may be as tall as it likes

    def before(self, feet: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Pixels (h, w) of the ground that is at most :data:`TAIL` nearer, along x, than the feet (h, w)."""
        cells = np.zeros(empty_cells().shape, np.uint8)
        cells[_cells_of(self.points[feet])[:2]] = 1
        tails = cv2.dilate(cells, np.ones((3, round(TAIL / CELL) + 1), np.uint8), anchor=(0, 1))
        row, column, inside = _cells_of(self.points)
        shown = np.zeros(feet.shape, np.bool_)
        shown[inside] = tails[row, column] > 0
        return shown


def _cells_of(points: NDArray[np.void]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Rows and columns of the cells in which points lie, of those that lie in any, and which do."""
    shape = empty_cells().shape
    column, row = (np.floor((points[name] + shift) / CELL) for name, shift in (("x", 0.0), ("y", ASIDE)))
    inside = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])  # NaN compares false
    return row[inside].astype(np.intp), column[inside].astype(np.intp), inside


def surface_kinds(instances: Instances, surfaces: Surfaces, ground: Ground) -> NDArray[np.uint8]:
    """What each pixel shows.

    A foot is the lowest pixel of what stands, over ground or nothing; in the picture's lowest row too, so that the
    nearest ground that is seen is blocked by what is nearer. Where other things hide a foot, none is told. Between the
    feet of one object, as beneath a car between its wheels, nothing is free, nor beneath the tail that what is tall may
    have, as lorries do: that ends high above the ground, nearer than the wheels.

    Args:
        instances: of the frame.
        surfaces: of the model.
        ground: of the frame's camera.

    Returns:
        (h, w) uint8, as large as ``ground/mask``: :data:`NOTHING`, :data:`DRIVABLE`, :data:`OTHER`, :data:`STANDING`,
        :data:`FOOT` or :data:`UNDER`.
    """
    table = np.full(len(instances) + 1, STANDING, np.uint8)
    table[0] = NOTHING
    drivable = np.isin(instances.class_ids, surfaces.drivable)
    table[1:][drivable] = np.where(instances.scores[drivable] >= SURE, DRIVABLE, NOTHING)
    table[1:][np.isin(instances.class_ids, surfaces.other)] = OTHER
    labels = sampled(instances.labels)
    kinds = np.asarray(np.take(table, labels))
    stands = kinds == STANDING
    feet = _lowest(stands)
    is_thing = np.concatenate([[False], np.isin(instances.class_ids, surfaces.things)])
    beneath = _between_feet(feet, labels, is_thing) & ~stands
    kinds[beneath] = STANDING
    closed = _lowest(stands | beneath)
    kinds[closed] = np.where(stands[closed], FOOT, UNDER)
    windows = [sampled_box(box, instances.labels.shape[1]) for box in instances.boxes]
    tall = _tall(closed, labels, is_thing, windows, ground)
    if tall.any():
        kinds[ground.before(tall) & (kinds == DRIVABLE)] = NOTHING
    return kinds


def _tall(
    feet: NDArray[np.bool_],
    labels: NDArray[np.int32],
    is_thing: NDArray[np.bool_],
    windows: list[tuple[slice, slice]],
    ground: Ground,
) -> NDArray[np.bool_]:
    """Those (h, w) of the feet that belong to things that are tall; `windows` are where each thing is seen."""
    tall = np.zeros_like(feet)
    for number in np.unique(labels[feet]):
        if is_thing[number]:
            window = windows[number - 1]
            mine = labels[window] == number
            own = feet[window] & mine
            top = window[0].start + int(np.argmax(mine.any(axis=1)))
            if ground.reaches(top, ground.points[window][own]):
                tall[window] |= own
    return tall


def _lowest(stands: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels below which none of these is."""
    below = np.zeros_like(stands)
    below[:-1] = stands[1:]
    return stands & ~below


def _between_feet(feet: NDArray[np.bool_], labels: NDArray[np.int32], is_thing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Convex hulls (h, w) of the lowest pixel of each thing in each column."""
    rows, columns = np.nonzero(feet)
    owners = labels[rows, columns].astype(np.int64)
    mine = is_thing[owners]
    rows, columns, owners = rows[mine], columns[mine], owners[mine]
    keys = owners * labels.shape[1] + columns
    _, last = np.unique(keys[::-1], return_index=True)  # rows rise: the last is the lowest
    chosen = len(keys) - 1 - last
    points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.int32)
    ends = np.flatnonzero(np.diff(owners[chosen])) + 1
    hulls = np.zeros(labels.shape, np.uint8)
    for each in np.split(points, ends):
        if len(each) > 1:
            cv2.fillConvexPoly(hulls, cv2.convexHull(each), 1)
    return hulls.astype(np.bool_)


def _cell_pixels(plane: GroundPlane, points: NDArray[np.void]) -> NDArray[np.intp]:
    """Of each cell the index of the pixel in which its middle lies, -1 where there is none that is fine enough."""
    across, ahead = np.indices(empty_cells().shape).reshape(2, -1)
    middles = np.stack([(ahead + 0.5) * CELL, (across + 0.5) * CELL - ASIDE], axis=1)
    pixels = plane.unproject(middles)
    columns, rows = sampled_columns(plane.camera), sampled_rows(plane.camera)
    step = columns[1] - columns[0] if len(columns) > 1 else 1
    with np.errstate(invalid="ignore"):
        column, row = (np.rint((pixels[:, axis] - first[0]) / step) for axis, first in ((0, columns), (1, rows)))
        inside = (column >= 0) & (column < len(columns)) & (row >= 0) & (row < len(rows))
    found = np.full(len(middles), -1, np.intp)
    found[inside] = row[inside].astype(np.intp) * len(columns) + column[inside].astype(np.intp)
    # A lens model may fold what lies outside the picture back into it: the pixel's own ground has to be there.
    at = np.stack([points["x"], points["y"]], axis=-1).astype(np.float64)
    depth = np.full(at.shape[:2], np.inf)
    depth[:-1] = np.hypot(*np.moveaxis(at[:-1] - at[1:], -1, 0))
    depth[-1] = depth[-2] if len(depth) > 1 else np.inf
    own = at.reshape(-1, 2)[found]
    deep = depth.reshape(-1)[found]
    found[~((np.hypot(*(own - middles).T) <= CELL + deep) & (deep <= FINEST))] = -1
    return found.reshape(empty_cells().shape)
