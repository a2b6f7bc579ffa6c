"""Grouping of instances on the device, by affinities or by SOLO's masks; outlines and tracks are made on the host."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from rtseg.errors import BackendError
from rtseg.frame import Frame
from rtseg.grouping import GroupedInstances
from rtseg.instances.methods import AffinityUnion, Solo, probabilities
from rtseg.ops.cuda import AffinityUnionPlan, ColoringPlan, SoloPlan
from rtseg.ops.cuda.module import Launcher
from rtseg.ops.cuda.status import BAD_AFFINITY
from rtseg.results import Instances
from rtseg.runtime.gpu.grouping import Downloads
from rtseg.runtime.latency import StageClock

if TYPE_CHECKING:
    from rtseg.instances.interpreter import InstanceInterpreter


class AffinityUnionGrouping:
    """Union-find and merging of regions over the affinities of the foreground, in fixed buffers.

    Labels and semantic maps come down, both of the map's size.

    Args:
        interpreter: finishes frames and tracks instances.
        method: the card's grouping, with its parameters.
        maps: the backend's output buffers.
        launcher: where kernels run.
    """

    def __init__(
        self, interpreter: InstanceInterpreter, method: AffinityUnion, maps: dict[str, Any], launcher: Launcher
    ) -> None:
        self._interpreter, self._method, self._maps = interpreter, method, maps
        semantic, affinity = (maps[name][0] for name in method.names)
        self._semantic, self._affinity = semantic, affinity
        size, settings = tuple(semantic.shape[1:]), method.parameters
        self._coloring = ColoringPlan(semantic.shape, size, launcher)
        self._union = AffinityUnionPlan(
            affinity.shape, method.offsets, settings.superpixel_threshold, settings.threshold, launcher=launcher
        )
        self._kinds = launcher.xp.zeros(size, "uint8")
        self._labels = launcher.xp.zeros(size, "int32")
        self.downloads = {
            "semantic": semantic,
            "labels": self._labels,
            "finite": self._coloring.status,
            "status": self._union.status,
        }

    def run(self) -> None:
        self._coloring.run(self._semantic, self._kinds)
        self._union.run(self._affinity, self._labels, self._kinds.view("bool"))  # any channel but the background's

    def finish(self, host: Downloads, frame: Frame, clock: StageClock) -> Instances | None:
        bits = int(host["status"][0])
        if host["finite"][0] or bits & BAD_AFFINITY:
            raise BackendError("expected finite semantics and affinities in [0, 1] from the device, got others")
        if bits:  # more regions or edges than the buffers hold: the CPU has no such limits
            return None
        with clock.stage("group"):
            found = self._method.describe(host["labels"].copy(), probabilities(host["semantic"]))
        return self._interpreter.finish(found, frame, clock)


class SoloGrouping:
    """The decoding of SOLO in fixed buffers; labels and scores come down. Arguments as `AffinityUnionGrouping`."""

    def __init__(
        self, interpreter: InstanceInterpreter, method: Solo, maps: dict[str, Any], launcher: Launcher
    ) -> None:
        self._interpreter, self._method = interpreter, method
        self._features = maps["mask_features"][0]
        self._levels = [(maps[f"cate_{name}"][0, 0], maps[f"kernel_{name}"][0]) for name in method.names]
        shapes = [(*cate.shape, stride) for (cate, _), stride in zip(self._levels, method.strides, strict=True)]
        self._plan = SoloPlan(shapes, self._features.shape, **asdict(method.settings), launcher=launcher)
        self._labels = launcher.xp.zeros(self._features.shape[1:], "int32")
        plan = self._plan
        self.downloads = {
            "labels": self._labels,
            "scores": plan.scores,
            "count": plan.count,
            "status": plan.status,
        }

    def run(self) -> None:
        self._plan.run(self._levels, self._features, self._labels)

    def finish(self, host: Downloads, frame: Frame, clock: StageClock) -> Instances:
        if host["status"][0]:
            raise BackendError("expected finite head maps from the device, got NaN or infinite values")
        count = int(host["count"][0])
        with clock.stage("group"):
            scores = host["scores"][:count].copy()
            found = GroupedInstances(host["labels"].copy(), np.zeros(count, np.int32), scores)
            described = self._method.describe(found)
        return self._interpreter.finish(described, frame, clock)
