"""`outbound corpus ...`: importing the package registers its commands."""

from pipeline.cli.corpus import imports, ingest, look, overlap, quality, remove, select

__all__ = ["imports", "ingest", "look", "overlap", "quality", "remove", "select"]
