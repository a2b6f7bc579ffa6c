"""Instances by Cityscapes', COCO's and the panoptic rules."""
