"""Files, records and processes: what every step stands on, and nothing of a corpus."""
