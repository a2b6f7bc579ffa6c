"""Tags of instances by an integer quadratic program."""
