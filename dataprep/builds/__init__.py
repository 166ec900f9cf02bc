"""Builds: verdicts on the documents of a corpus, and the text that they keep."""
