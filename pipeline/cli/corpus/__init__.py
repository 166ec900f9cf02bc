"""`outbound corpus ...`: importing the package registers its commands."""

from pipeline.cli.corpus import (
    diff,
    export,
    imports,
    ingest,
    look,
    opt_outs,
    overlap,
    quality,
    remove,
    sample,
    select,
    verify,
    work,
)

__all__ = [
    "diff",
    "export",
    "imports",
    "ingest",
    "look",
    "opt_outs",
    "overlap",
    "quality",
    "remove",
    "sample",
    "select",
    "verify",
    "work",
]
