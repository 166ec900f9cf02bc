"""The other doors into a corpus: pages (WARC, CDX) enter at `extract`, texts of any kind at `score`."""
