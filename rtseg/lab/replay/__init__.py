"""Run recordings through the pipeline: result bags, overlays, reports."""
