"""Torch networks, one file a paper."""
