"""Pure functions of one text: its words, its measurements, its hashes."""
