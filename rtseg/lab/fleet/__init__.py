"""Recordings of a whole fleet: replayed in shards on Ray, reported, compared, and searched for frames to label."""
