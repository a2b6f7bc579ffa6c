"""Studies of what limits a model: pages, error budgets, folds, the quality of grouping."""
