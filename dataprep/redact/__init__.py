"""Redaction: what takes the place of forgotten content, in WARC files and in the records of every step."""
