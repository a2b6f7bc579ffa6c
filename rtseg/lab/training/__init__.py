"""Losses, data sets and Lightning modules."""
