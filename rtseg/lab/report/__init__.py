"""Pages, plots and galleries that the desk writes."""
