"""Training of instance networks."""
