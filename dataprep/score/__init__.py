"""Step `score`: the measurements of each document that the thresholds of a recipe read."""
