"""`outbound corpus ...`: importing the package registers its commands."""

from pipeline.cli.corpus import diff, imports, ingest, look, overlap, quality, remove, select

__all__ = ["diff", "imports", "ingest", "look", "overlap", "quality", "remove", "select"]
