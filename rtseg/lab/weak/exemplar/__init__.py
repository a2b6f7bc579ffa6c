"""Instance masks from no labels at all."""
