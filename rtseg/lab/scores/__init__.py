"""Scores by the benchmarks' own rules."""
