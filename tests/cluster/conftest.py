"""What the tests of a cluster share: the demo's corpus, made by one machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.desk import Demo, made


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with made(tmp_path_factory.mktemp("a desk")) as demo:  # with a space in its name
        yield demo
