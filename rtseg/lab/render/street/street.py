"""The procedural street: cars, lorries, buses, trams, people and riders in a city, with exact instance masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera
from rtseg.errors import ConfigError
from rtseg.lab.render.canvas import Canvas
from rtseg.lab.render.road import RoadShape
from rtseg.lab.render.scene import HOOD, Ego, World, sample_camera
from rtseg.lab.render.street.actors import Actor, paint_actor, painting_order
from rtseg.lab.render.street.models import Light
from rtseg.lab.render.street.population import Population
from rtseg.lab.render.style import RoadStyle, sample_style
from rtseg.lab.render.view import View

if TYPE_CHECKING:
    from rtseg.lab.data.instance_labels import InstanceTruth

# Those of rtseg.lab.data.cityscapes.THINGS.
CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
SMALLEST = 16  # pixels of a frame 640 wide; of what shows less, only the class is said


@dataclass(frozen=True)
class RenderedStreet:
    """One rendered frame with its truth; row i of the per-instance arrays describes instance i + 1.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        instances: (H, W) int32, 0 none, 1..n, -1 for what is too small to tell apart.
        semantic: (H, W) uint8, 0 none, 1 + i class i.
        class_ids: (n,) int32 indices into `classes`.
        ids: (n,) int32, kept through time in a drive; 1..n in a single picture.
        distances: (n,) float32 metres from the vehicle to the instance's middle.
        camera: intrinsics and mount the frame was taken with.
        description: conditions (setting, lighting, weather ...).
        classes: names of the things.
        stamp: nanoseconds since the start of the drive.
    """

    image: NDArray[np.uint8]
    instances: NDArray[np.int32]
    semantic: NDArray[np.uint8]
    class_ids: NDArray[np.int32]
    ids: NDArray[np.int32]
    distances: NDArray[np.float32]
    camera: Camera
    description: dict[str, str | float | list[str]]
    classes: tuple[str, ...] = CLASSES
    stamp: int = 0

    def truth(self) -> InstanceTruth:
        """The labels in the form that data sets have."""
        # Readers bring video and bag libraries with them, which the renderer does without.
        from rtseg.lab.data.instance_labels import InstanceTruth

        return InstanceTruth(self.instances, self.semantic, self.class_ids)


def sample_street(rng: np.random.Generator) -> RoadStyle:
    """Draw a street of a city as a car's camera sees it: mostly by day, narrow, level."""
    for _ in range(400):
        style = sample_style(rng)
        lanes = len(style.lines) - 1
        if style.setting != "city" or (lanes > 3 and rng.random() < 0.8):
            continue
        if style.weather == "fog" and style.visibility < 120:
            continue
        if rng.random() < {"night": 0.25, "dusk": 0.5}.get(style.lighting, 1.0):
            break
    height = float(rng.uniform(1.15, 1.5) if rng.random() < 0.85 else rng.uniform(1.5, 2.6))
    return replace(
        style,
        setting="city",
        left_border="curb" if rng.random() < 0.8 else "none",
        right_border="curb" if rng.random() < 0.8 else "none",
        parked=(0.0, 0.0),
        hilliness=0.3 * style.hilliness,
        curvature=float(np.clip(style.curvature, -2e-3, 2e-3)),
        focal=float(np.clip(rng.normal(0.98, 0.15), 0.65, 1.35)),
        horizon=float(np.clip(rng.normal(0.42, 0.045), 0.3, 0.56)),
        camera_height=height,
        own_offset=float(np.clip(rng.normal(0.5, 0.07), 0.3, 0.7)),
        stray=0.8 * style.stray,
    )


class StreetWorld(World):
    """A street with all that stands and moves in it, made from a style and a seed.

    Args:
        style: from `sample_street`.
        seed: any non-negative integer.
        speed: of the own vehicle, metres a second; traffic ahead keeps it.
    """

    def __init__(self, style: RoadStyle, seed: int, speed: float = 8.0) -> None:
        super().__init__(style, seed)
        self.bridge = None
        self.population = Population(style, seed, speed)

    def street(
        self, ego: Ego, camera: Camera, view: View, seconds: float, numbers: dict[tuple[int, ...], int], frame: int
    ) -> RenderedStreet:
        """Paint the street at a time.

        Args:
            ego: where the vehicle is.
            camera: of the frame.
            view: the same camera at the size at which it is painted, before that is scaled to the frame's.
            seconds: since the start.
            numbers: id of each instance seen so far, by its actor's key and its place in it; new ones are added.
            frame: number of the frame, which seeds noise.
        """
        actors = self.population.at(seconds, ego.traveled)
        order = painting_order(actors, ego.offset)
        firsts = np.cumsum([1, *(len(actor.classes) for actor in actors)])
        labels = np.zeros((view.height, view.width), np.int32)

        def things(canvas: Canvas, shape: RoadShape, level: float, night: bool, shadow: float) -> None:
            canvas.labels = labels
            sun = np.array([0.35, -np.sign(self.sun), 0.8]) if self.style.lighting == "sun" else np.zeros(3)
            sun /= np.linalg.norm(sun) + 1e-9
            for i in order:
                beam = 0.55 / (1 + (max(actors[i].s, 0.0) / 22) ** 2) if night else 0.0
                light = Light(level + beam, sun, night or self.style.lighting == "dusk")
                paint_actor(canvas, shape, actors[i], light, shadow, self.sun / 3, int(firsts[i]))

        image, canvas, _, _ = self.picture(ego, view, [], frame, things)
        labels[canvas.standing == HOOD] = 0
        parts = [(actor, i, name) for actor in actors for i, name in enumerate(actor.classes)]
        if (view.height, view.width) != (camera.height, camera.width):
            size = (camera.width, camera.height)
            how = cv2.INTER_AREA if view.width > camera.width else cv2.INTER_CUBIC
            image = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
            labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.int32)
        return self._rendered(image, labels, parts, camera, numbers, ego.offset)

    def _rendered(
        self, image: NDArray[np.uint8], labels: NDArray[np.int32], parts: list[tuple[Actor, int, str]], camera: Camera,
        numbers: dict[tuple[int, ...], int], own: float,
    ) -> RenderedStreet:  # fmt: skip
        areas = np.bincount(labels.ravel(), minlength=len(parts) + 1)
        least = SMALLEST * (camera.width / 640) ** 2
        instance_of = np.zeros(len(parts) + 1, np.int32)
        semantic_of = np.zeros(len(parts) + 1, np.uint8)
        class_ids, ids, distances = [], [], []
        for label, (actor, part, name) in enumerate(parts, 1):
            semantic_of[label] = 1 + CLASSES.index(name)
            if areas[label] < least:
                instance_of[label] = -1
                continue
            class_ids.append(CLASSES.index(name))
            ids.append(numbers.setdefault((*actor.key, part), len(numbers) + 1))
            distances.append(np.hypot(actor.s, actor.u - own))
            instance_of[label] = len(class_ids)
        return RenderedStreet(
            image, instance_of[labels], semantic_of[labels], np.array(class_ids, np.int32), np.array(ids, np.int32),
            np.array(distances, np.float32), camera, self.style.describe(),
        )  # fmt: skip


def render_street(seed: int, size: tuple[int, int] = (320, 640), detail: float = 1.5) -> RenderedStreet:
    """Render the street that belongs to `seed`: on one machine the same arguments give the same bytes.

    Args:
        seed: any non-negative integer.
        size: (height, width) in pixels, at least 32x32.
        detail: the picture is painted so many times larger and averaged down, which smooths its edges.

    Returns:
        The picture and its instances.

    Raises:
        ConfigError: if the seed is negative, the size too small or `detail` not positive.
    """
    _check(seed, size, detail)
    style = sample_street(np.random.default_rng([seed, 301]))
    world = StreetWorld(style, seed)
    camera = sample_camera(style, size)
    return world.street(world.start(), camera, View(_painted(camera, detail)), 0.0, {}, 0)


def _check(seed: int, size: tuple[int, int], detail: float) -> None:
    if seed < 0 or min(size) < 32 or not 0.2 <= detail <= 4:
        raise ConfigError(
            "expected a seed of 0 or more, a size of at least 32x32 pixels and a detail of 0.2 to 4, got "
            f"seed {seed}, {size[1]}x{size[0]} and {detail}"
        )


def _painted(camera: Camera, detail: float) -> Camera:
    """The camera at the size at which its picture is painted."""
    return camera.scaled(max(round(camera.width * detail), 32), max(round(camera.height * detail), 32))


class StreetDrive:
    """Frames of one drive through a street, rendered while iterating; iterating again gives the same frames.

    Args:
        seed: any non-negative integer.
        seconds: length of the drive.
        fps: frames a second.
        size: (height, width) of the frames in pixels.
        style: the scene; a dry one by day, drawn from the seed, if None.
        detail: see `render_street`; below 1 the picture is enlarged.

    Attributes:
        camera: the one camera of all frames, at `size`.
        style: the scene.

    Raises:
        ConfigError: if the length, the rate or the size makes no drive.
    """

    def __init__(
        self,
        seed: int,
        seconds: float,
        fps: float,
        size: tuple[int, int] = (360, 640),
        style: RoadStyle | None = None,
        detail: float = 1.0,
    ) -> None:
        _check(seed, size, detail)
        if seconds <= 0 or fps <= 0:
            raise ConfigError(f"expected positive seconds and fps, got {seconds} s and {fps} fps")
        self.seed, self.seconds, self.fps, self.size = seed, float(seconds), float(fps), size
        self.style = style or _demo_street(seed)
        self.camera: Camera = sample_camera(self.style, size)
        self._painted = _painted(self.camera, detail)
        self._speed = float(np.random.default_rng([seed, 302]).uniform(6.5, 10.0))
        self._world = StreetWorld(self.style, seed, self._speed)

    def __len__(self) -> int:
        """Number of frames."""
        return max(round(self.seconds * self.fps), 1)

    def __iter__(self) -> Iterator[RenderedStreet]:
        numbers: dict[tuple[int, ...], int] = {}
        start = self._world.start()
        view = View(self._painted)
        for k in range(len(self)):
            seconds = k / self.fps
            sway = 0.12 * float(np.sin(0.7 * seconds))
            drift = 0.084 * float(np.cos(0.7 * seconds))
            ego = Ego(self._speed * seconds, start.offset + sway, drift / self._speed)
            frame = self._world.street(ego, self.camera, view, seconds, numbers, k)
            yield replace(frame, stamp=round(k * 1e9 / self.fps))


def _demo_street(seed: int) -> RoadStyle:
    """A dry street by day through an ordinary camera."""
    rng = np.random.default_rng([seed, 303])
    style = sample_street(rng)
    return replace(
        style, lighting="sun" if rng.random() < 0.6 else "overcast", weather="clear", visibility=5000.0, roll=0.0,
        distortion=0.0, own_heading=0.0, stray=0.2, hood="none", horizon=0.42, focal=0.95,
    )  # fmt: skip
