"""`outbound corpus ...`: importing the package registers its commands."""

from pipeline.cli.corpus import ingest, look, remove, select

__all__ = ["ingest", "look", "remove", "select"]
