"""The desk: data, training, scores, replay and bench. Nothing that runs in a vehicle imports it."""
