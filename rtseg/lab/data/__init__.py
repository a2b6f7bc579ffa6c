"""Labelled data sets as they are published, and the arrays that are made of them."""
