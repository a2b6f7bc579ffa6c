"""The procedural street with cars, people and bicycles."""
