"""Ranks of training runs to which something happens; a run starts each by its name."""
