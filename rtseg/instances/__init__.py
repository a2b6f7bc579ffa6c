"""Instances through time, and at the size of the image."""

from __future__ import annotations

from rtseg.instances.tracking import InstanceTracker, InstanceTrackerSettings
from rtseg.instances.upsampling import upsample_labels

__all__ = ["InstanceTracker", "InstanceTrackerSettings", "upsample_labels"]
