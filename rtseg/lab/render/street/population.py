"""Who is in a street, and where: traffic in the lanes, vehicles at the kerb, people on the pavements and crossing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rtseg.lab.render.street.actors import REACH, Actor, Prop, Ride, Walker
from rtseg.lab.render.street.models import Hull, bus, car, tram, truck
from rtseg.lab.render.street.people import random_appearance, random_cycle
from rtseg.lab.render.style import RoadStyle

AHEAD, BEHIND = 160.0, 50.0  # metres of moving traffic around the vehicle; who leaves at one end comes in at the other
CHUNK = 20.0  # metres of street whose standing and walking population is drawn from one seed
WALK = 40.0  # metres that people are followed beyond their chunk
TRAFFIC, KERB, PAVEMENT, CROSSING, WHEELS = range(5)  # first number of a key


def _chunks(start: float, end: float) -> range:
    return range(int(start // CHUNK), int(end // CHUNK) + 1)


class Population:
    """All actors of a street, anchored to its arc length.

    Args:
        style: the street.
        seed: of everything drawn.
        speed: of the own vehicle, metres a second.
    """

    def __init__(self, style: RoadStyle, seed: int, speed: float) -> None:
        self.style, self.seed, self.speed = style, seed, speed
        rng = np.random.default_rng([seed, 310])
        self._people = rng.gamma(1.0, 1.1, 2)  # groups of people on 20 m of either pavement
        self._crossing = float(rng.gamma(0.7, 0.4))
        self._cycles = float(rng.gamma(0.9, 0.7))
        self._furniture = float(rng.uniform(0.1, 1.0))
        # Each side's kerb: share of places taken, and whether cars stand along the road or across it.
        self._rows = [
            (float(rng.uniform(0.3, 1.0)) * (rng.random() < 0.62), bool(rng.random() < 0.15)) for _ in range(2)
        ]
        self._heavy = float(rng.uniform(0.0, 0.3)) if rng.random() < 0.5 else 0.03
        self._moving = self._traffic(rng) + self._riders(rng)
        self._standing_in: dict[int, list[Actor]] = {}
        self._walking_in: dict[int, list[Actor]] = {}

    def at(self, seconds: float, traveled: float) -> list[Actor]:
        """Everyone around the vehicle, with `s` from it."""
        actors: list[Actor] = []
        span = AHEAD + BEHIND
        for actor in self._moving:
            moved = actor.at(seconds, traveled)
            turns, place = divmod(moved.s + BEHIND, span)
            # Who comes in again at the other end is somebody else.
            actors.append(replace(moved, key=(*moved.key, int(turns)), s=place - BEHIND))
        for chunk in _chunks(traveled - 15, traveled + REACH):
            if chunk not in self._standing_in:
                self._standing_in[chunk] = self._standing(chunk)
            actors += [actor.at(seconds, traveled) for actor in self._standing_in[chunk]]
        for chunk in _chunks(traveled - 15 - WALK, traveled + REACH + WALK):
            if chunk not in self._walking_in:
                self._walking_in[chunk] = self._on_foot(chunk)
            around = (actor.at(seconds, traveled) for actor in self._walking_in[chunk])
            actors += [actor for actor in around if -15 < actor.s < REACH]
        return actors

    def _traffic(self, rng: np.random.Generator) -> list[Actor]:
        actors: list[Actor] = []
        style = self.style
        jam = rng.random() < 0.25
        busy = float(rng.uniform(0.2, 1.0))
        for lane in range(len(style.lines) - 1):
            middle = (style.lines[lane].offset + style.lines[lane + 1].offset) / 2
            own = lane == style.own_lane
            against = style.oncoming and lane < style.own_lane
            speed = self.speed if own else self.speed * float(rng.uniform(0.75, 1.3))
            s = float(rng.uniform(7, 45)) if own else float(rng.uniform(-BEHIND, 15))
            while s < AHEAD - 15:
                hull = self._vehicle(rng, tram_too=not own)
                s += 0.5 * hull.length
                heading = np.pi if against else 0.0
                u = middle + float(rng.normal(0, 0.15))
                key = (TRAFFIC, len(actors))
                if rng.random() < 0.07:
                    ride = Ride(random_cycle(rng, motor=True), random_appearance(rng))
                    actors.append(Actor(key, ride, s, u, heading, speed))
                else:
                    actors.append(Actor(key, hull, s, u, heading, speed))
                gap = float(rng.exponential(3.0)) + 2.0 if jam else float(rng.exponential(28)) / busy + 7.0
                s += 0.5 * hull.length + gap
        return actors

    def _vehicle(self, rng: np.random.Generator, tram_too: bool = False) -> Hull:
        if rng.random() >= 0.1 + self._heavy:
            return car(rng)
        kind = rng.choice(3, p=[0.5, 0.35, 0.15] if tram_too else [0.6, 0.4, 0.0])
        return (truck, bus, tram)[kind](rng)

    def _riders(self, rng: np.random.Generator) -> list[Actor]:
        """Cyclists along both edges of the road."""
        actors: list[Actor] = []
        for side, edge in ((-1, self.style.right_edge), (1, self.style.left_edge)):
            for _ in range(int(rng.poisson(2.0 * self._cycles))):
                ride = Ride(random_cycle(rng, motor=rng.random() < 0.1), random_appearance(rng))
                s, u = float(rng.uniform(-20, 90)), edge + side * float(rng.uniform(-0.9, 1.2))
                heading = np.pi if (side > 0) == (rng.random() < 0.85) else 0.0
                speed, phase = float(rng.uniform(3.0, 6.0)), float(rng.uniform(0, 6))
                actors.append(Actor((WHEELS, side + 1, len(actors)), ride, s, u, heading, speed, phase))
        return actors

    def _standing(self, chunk: int) -> list[Actor]:
        """Vehicles and cycles at the kerb, and street furniture."""
        actors: list[Actor] = []
        for side, edge, (share, across) in self._sides():
            rng = np.random.default_rng([self.seed, 311, side + 1, chunk & 0xFFFFFFFF])
            s, end = chunk * CHUNK + float(rng.uniform(0, 1)), (chunk + 1) * CHUNK

            def add(thing: Hull | Ride | Prop, s: float, u: float, heading: float, side: int = side) -> None:
                actors.append(Actor((KERB, side + 1, chunk, len(actors)), thing, s, u, heading))

            while s < end - 3.0:
                hull = car(rng) if rng.random() < 0.94 else truck(rng)
                turned = bool(rng.random() < (0.75 if side > 0 else 0.06))
                wide, long = (hull.length, hull.width) if across else (hull.width, hull.length)
                if rng.random() < share and s + long < end:
                    heading = 0.5 * np.pi * (1 if rng.random() < 0.5 else -1) if across else np.pi * turned
                    u = edge + side * (0.5 * wide + float(rng.uniform(0.05, 0.35)))
                    add(hull, s + 0.5 * long, u, float(heading + rng.normal(0, 0.02)))
                s += long + 0.5 + float(rng.exponential(0.6))
            kerb = edge + side * (2.6 if share else 0.5)
            for _ in range(int(rng.poisson(0.3 * self._cycles))):
                s, motor = chunk * CHUNK + float(rng.uniform(0, CHUNK)), bool(rng.random() < 0.2)
                facing = float(rng.uniform(0, 2 * np.pi))
                for k in range(int(rng.integers(1, 5))):
                    u = kerb + side * float(rng.uniform(0.3, 0.7))
                    add(Ride(random_cycle(rng, motor), None), s + (0.7 if not motor else 1.1) * k, u, facing)
            for _ in range(int(rng.poisson(self._furniture))):
                kind = str(rng.choice(["pole", "tree", "sign", "bin"], p=[0.35, 0.3, 0.2, 0.15]))
                s, u = chunk * CHUNK + float(rng.uniform(0, CHUNK)), kerb + side * float(rng.uniform(0.0, 1.0))
                add(Prop(kind, int(rng.integers(1 << 30))), s, u, 0.0)
        return actors

    def _on_foot(self, chunk: int) -> list[Actor]:
        actors: list[Actor] = []
        for side, edge, (share, _) in self._sides():
            rng = np.random.default_rng([self.seed, 312, side + 1, chunk & 0xFFFFFFFF])
            start = edge + side * (2.5 if share else 0.7)
            for _ in range(int(rng.poisson(self._people[(side + 1) // 2]))):
                s, u = chunk * CHUNK + float(rng.uniform(0, CHUNK)), start + side * float(rng.uniform(0, 2.8))
                heading, speed = self._gait(rng, 0.0 if rng.random() < 0.5 else np.pi)
                self._group(rng, actors, (PAVEMENT, side + 1, chunk), (s, u), heading, speed)
        rng = np.random.default_rng([self.seed, 313, chunk & 0xFFFFFFFF])
        for _ in range(int(rng.poisson(self._crossing))):
            s = chunk * CHUNK + float(rng.uniform(0, CHUNK))
            heading = 0.5 * np.pi * (1 if rng.random() < 0.5 else -1)
            # In the middle of the road when the vehicle is still some way off.
            middle = 0.5 * (self.style.left_edge + self.style.right_edge)
            seconds = (s - float(rng.uniform(13, 40))) / self.speed
            speed = float(rng.uniform(1.0, 1.7))
            self._group(
                rng, actors, (CROSSING, chunk), (s, middle - speed * seconds * np.sign(heading)), heading, speed
            )
        return actors

    @staticmethod
    def _gait(rng: np.random.Generator, along: float) -> tuple[float, float]:
        if rng.random() < 0.3:
            return float(rng.uniform(0, 2 * np.pi)), 0.0
        return along + float(rng.normal(0, 0.06)), float(rng.uniform(0.9, 1.6))

    @staticmethod
    def _group(
        rng: np.random.Generator, actors: list[Actor], key: tuple[int, ...], at: tuple[float, float], heading: float,
        speed: float,
    ) -> None:  # fmt: skip
        count = int(rng.choice([1, 2, 3, 5], p=[0.58, 0.26, 0.11, 0.05]))
        for k in range(count):
            appearance = random_appearance(rng)
            stride = 0.42 * appearance.height if speed else 0.0
            s = at[0] + float(rng.normal(0, 0.35)) * (count > 1)
            u = at[1] + 0.6 * (k - 0.5 * (count - 1)) + float(rng.normal(0, 0.1))
            phase = float(rng.uniform(0, 2 * np.pi))
            actors.append(Actor((*key, len(actors)), Walker(appearance, stride), s, u, heading, speed, phase))

    def _sides(self) -> list[tuple[int, float, tuple[float, bool]]]:
        return [(1, self.style.left_edge, self._rows[0]), (-1, self.style.right_edge, self._rows[1])]
