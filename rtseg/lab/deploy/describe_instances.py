"""What the card of an instance network says of its outputs, its grouping and its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rtseg.counted import counted
from rtseg.lab.deploy.quantize import QuantizationReport
from rtseg.lab.nets.heads import OutputMap
from rtseg.lab.training.instances.config import InstanceConfig
from rtseg.runtime.card import DeviceGrouping, Grouping, ModelOutput, Task

# Classes that are taken for one another but not for those of other groups (GMIS, section 4.2).
_CONFUSED = (("person", "rider"), ("car", "truck", "bus", "train"), ("motorcycle", "bicycle"))
# The input width at which the papers state distances and areas in pixels.
_PAPERS_WIDTH = 2048


@dataclass(frozen=True)
class Description:
    """The parts of a card that depend on the kind of network.

    `data` names the training data where the packager is told of none; `compared` says how int8 stands against float.
    """

    family: str
    task: Task
    summary: str
    outputs: tuple[ModelOutput, ...]
    grouping: Grouping
    classes: tuple[str, ...]
    data: tuple[str, ...]
    compared: str


def describe_instances(config: InstanceConfig, maps: Sequence[OutputMap], report: QuantizationReport) -> Description:
    """Describe a network by its configuration, the maps it announces, and what quantizing it changed."""
    size, network = config.input, config.network
    family, title, grouping = _grouping(config)
    return Description(
        family=family,
        task="instances",
        summary=f"{len(config.classes)} kinds of objects: {title} on {network.backbone}, "
        f"{size.width}x{size.height}, int8",
        outputs=tuple(
            ModelOutput(name=entry.name, kind=entry.kind, channels=entry.channels, stride=entry.stride)
            for entry in maps
        ),
        grouping=grouping,
        classes=config.classes,
        data=("not told",),
        compared=f"int8 against fp32 on {counted(report.frames, 'frame')}: {maps[0].name} rms error "
        f"{report.rms_error:.4f} of its spread, the same strongest channel on {report.id_agreement:.4f} of "
        "object pixels.",
    )


def _grouping(config: InstanceConfig) -> tuple[str, str, Grouping]:
    """Family, title, and the paper's grouping; beside it what of it a card does."""
    scale = config.input.width / _PAPERS_WIDTH
    parameters: dict[str, Any] = {}
    if config.model == "l2c-instances":
        # 20 pixels and 1500 pixels at 2048 (section V-B).
        parameters = {"merge_distance": round(20.0 * scale, 2), "score_area": round(1500.0 * scale * scale, 1)}
        plain = DeviceGrouping(method="coloring", parameters={**parameters, "intersect": False})
        return "l2c", "L2C", Grouping(method="coloring", parameters=parameters, device=plain)
    if config.model == "gmis":
        known = [tuple(name for name in group if name in config.classes) for group in _CONFUSED]
        named = {name for group in known for name in group}
        others = tuple(name for name in config.classes if name not in named)
        groups = [list(group) for group in (*known, others) if group]
        plain = DeviceGrouping(
            method="graph_merge", parameters={"super_classes": groups, "window": 1, "areas": False, "certain": 0.97}
        )
        return "gmis", "GMIS", Grouping(method="graph_merge", parameters={"super_classes": groups}, device=plain)
    if config.model == "daffnet":
        finest = DeviceGrouping(method="affinity_union", parameters={"position_threshold": 0.5})
        return "daffnet", "DaffNet", Grouping(method="cascade_gaec", device=finest)
    return "exemplar_solo", "Exemplar-FreeSOLO", Grouping(method="solo")
