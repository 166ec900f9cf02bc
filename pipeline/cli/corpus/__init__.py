"""`outbound corpus ...`: importing the package registers its commands."""

from pipeline.cli.corpus import ingest, look, quality, remove, select

__all__ = ["ingest", "look", "quality", "remove", "select"]
