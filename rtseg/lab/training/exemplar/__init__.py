"""Training without labels: Exemplar-FreeSOLO."""
