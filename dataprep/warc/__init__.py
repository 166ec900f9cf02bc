"""Reading WARC files and the HTTP responses in them; the writer is `crawl.warc_writer`."""
