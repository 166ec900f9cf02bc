"""Step `shard`: the kept documents as webdataset tars, and their export to other formats."""
