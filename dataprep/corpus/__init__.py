"""The directory of a corpus: its recipe, its records, its tombstones, and what it no longer needs."""
