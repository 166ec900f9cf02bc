"""What the tests of forgetting share: a small web."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.servers.web import Web, serving


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Web]:
    """One web for all tests of a file."""
    with serving() as served:
        yield served
