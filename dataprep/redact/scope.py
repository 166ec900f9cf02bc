"""All that a forget covers, as the steps' records are asked for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.urls import canonical, key_of

Mask = npt.NDArray[np.bool_]


Place = tuple[int, int, int]
"""Where the row of a document stands: increment, partition, row."""


@dataclass(frozen=True, kw_only=True)
class ForgetScope:
    """All that goes, by url_key.

    keys: links that go. sites: so does all that is of these. submissions: entries that leave the lists of
    links, be they kept or not; `relisted` are the links that stay without them.
    onward: addresses to which links that go had moved; staying: those of them to which others had, too, and
    kept: (WARC file, offset) of the pages of these others.
    documents: their doc_ids and places. links: how many links of the corpus go.
    """

    keys: frozenset[bytes]
    sites: frozenset[str]
    submissions: frozenset[str]
    relisted: frozenset[bytes] = frozenset()
    onward: frozenset[bytes] = frozenset()
    staying: frozenset[bytes] = frozenset()
    kept: frozenset[tuple[str, int]] = frozenset()
    documents: tuple[tuple[bytes, Place], ...] = ()
    links: int = 0

    @property
    def doc_ids(self) -> frozenset[bytes]:
        """The documents that go."""
        return frozenset(doc_id for doc_id, _ in self.documents)

    def rows(self, table: pa.Table) -> Mask:
        """(rows,) which rows of a table with url_key, and perhaps site, go."""
        going = pc.is_in(table["url_key"], value_set=pa.array(sorted(self.keys), pa.binary(16)))
        mask: Mask = going.to_numpy().astype(np.bool_)
        if self.sites and "site" in table.column_names:
            of_site = pc.is_in(table["site"], value_set=pa.array(sorted(self.sites), pa.string()))
            mask |= of_site.to_numpy().astype(np.bool_)
        return mask

    def url(self, url: str) -> bool:
        """Whether an address is of a link or a site that goes."""
        try:
            link = canonical(url)
        except ValueError:
            return key_of(url) in self.keys
        return link.key in self.keys or link.site in self.sites
