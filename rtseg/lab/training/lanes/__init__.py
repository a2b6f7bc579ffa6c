"""Training of lane networks."""
