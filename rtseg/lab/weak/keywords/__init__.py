"""Labels from keywords alone."""
