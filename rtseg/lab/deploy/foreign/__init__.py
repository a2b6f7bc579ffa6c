"""Networks that were trained and exported elsewhere, made into model folders."""
