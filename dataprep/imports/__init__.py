"""`outbound corpus import`: WARC, WET, Parquet, JSON lines and text files, and pages of a CDX index."""
