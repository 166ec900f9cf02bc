"""Stages `extract` and `score`: from pages to documents and their measurements."""
