"""trafilatura on every page of a WARC file that warcio reads; writes nothing; prints how many had text."""

import sys

import trafilatura
from warcio.archiveiterator import ArchiveIterator

from dataprep.corpus.recipe import Extraction

settings = Extraction()
dates = {"max_date": "2100-01-01", "extensive_search": False, "original_date": True}
texts = 0
with open(sys.argv[1], "rb") as file:
    for record in ArchiveIterator(file):
        found = trafilatura.bare_extraction(
            record.content_stream().read(),
            url=record.rec_headers.get_header("WARC-Target-URI"),
            with_metadata=True,
            date_extraction_params=dates,
            favor_precision=settings.favor_precision,
            include_comments=settings.include_comments,
            include_tables=settings.include_tables,
        )
        texts += bool(found and found.text)
print(texts)
