"""`outbound corpus ...`: importing the package registers its commands."""

from pipeline.cli.corpus import ingest, look, select

__all__ = ["ingest", "look", "select"]
