"""Time a model on a machine, beside peers and a floor."""
