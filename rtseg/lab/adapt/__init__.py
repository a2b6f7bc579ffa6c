"""A lane model made to fit one's own camera by its recordings alone, and kept only if it is better."""
