"""Files, records and processes: what every stage stands on, and nothing of a corpus."""
