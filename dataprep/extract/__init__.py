"""Step `extract`: pages to documents, the text of each by trafilatura in a sandbox."""
