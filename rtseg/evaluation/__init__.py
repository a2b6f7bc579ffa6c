"""Scores of lanes and instances, replay of bags, and the report."""
