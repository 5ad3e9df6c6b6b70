"""One project and one provider for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.runner.lab import Lab
from tests.integration.runner.provider import Provider


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """A provider that outlives every stand."""
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Lab:
    """A project whose ledger is its own."""
    return Lab(tmp_path_factory.mktemp("lab"), provider)
