"""Objects as vision_msgs has them: the node's messages are those of result bags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovariance
from rosbags.interfaces import Nodetype
from rtseg_ros import messages
from std_msgs.msg import Header

from rtseg.lab.replay.bag_messages import BagMessages
from rtseg.messages import DETECTIONS, detections
from tests.lab.replay.test_outputs import instances_of
from tests.ros.harness import header
from tests.ros.test_same_messages import differences, fields_of

pytestmark = pytest.mark.ros
BAG = BagMessages()
KINDS: dict[str, type] = {"std_msgs/msg/Header": Header, "geometry_msgs/msg/PoseWithCovariance": PoseWithCovariance}
PLAIN = {"string": str, "float64": float}


def kind_of(name: str) -> type:
    """A message's class made of its definition, as strict about fields and their types as those of rosidl."""
    if name in KINDS:
        return KINDS[name]
    fields: dict[str, Any] = {}
    definition: Any = BAG.store.fielddefs[name][1]
    for field, (node, argument) in definition:
        if node == Nodetype.BASE:
            fields[field] = PLAIN[argument[0]]
        elif node == Nodetype.NAME:
            fields[field] = kind_of(argument)
        else:
            kind_of(argument[0][1])
            fields[field] = list

    class Message:
        def __init__(self, **given: Any) -> None:
            for field, kind in fields.items():
                setattr(self, field, given.pop(field, kind()))
            assert not given

        def __setattr__(self, field: str, value: Any) -> None:
            assert type(value) is fields[field], (name, field, value)
            super().__setattr__(field, value)

        def get_fields_and_field_types(self) -> dict[str, type]:
            return fields

    KINDS[name] = Message
    return Message


@pytest.fixture
def vision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where vision_msgs is not installed: classes of the same definitions."""
    if messages.Detection2DArray is None:
        for name in ("Detection2DArray", "Detection2D", "ObjectHypothesis", "ObjectHypothesisWithPose"):
            monkeypatch.setattr(messages, name, kind_of(f"vision_msgs/msg/{name}"), raising=False)


@pytest.mark.usefixtures("vision")
def test_the_nodes_detections_are_those_of_result_bags() -> None:
    found = detections(instances_of())
    stamp = 1_700_000_000_000_000_005
    mine = messages.to_detections(found, header(stamp))
    yours = BAG.detections(BAG.header(stamp, "camera"), found)
    assert differences(fields_of(mine), fields_of(yours)) == []
    assert len(mine.detections) == len(instances_of())
    read: Any = BAG.store.deserialize_cdr(BAG.serialize(yours), DETECTIONS)
    assert differences(fields_of(yours), fields_of(read)) == []
    assert [each.id for each in read.detections] == [str(i) for i in np.unique(instances_of().ids)]
