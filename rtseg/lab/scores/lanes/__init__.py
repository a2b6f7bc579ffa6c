"""Lanes by TuSimple's and CULane's rules, and their steadiness through time."""
