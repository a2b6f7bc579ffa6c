"""What keyword labels are worth beside full ones."""
