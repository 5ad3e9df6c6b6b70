"""Cells in each sandbox, for tests that try what a harness must not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.sandboxes.cell import Cell

from agentdyno.sessions.sandboxes import Sandbox, adopt_orphans, sandbox_named


@pytest.fixture(scope="package", autouse=True)
def adopting() -> Iterator[None]:
    """Orphans come to the tests' process, as they come to a runner."""
    with adopt_orphans():
        yield


@pytest.fixture(params=["process", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Each sandbox in turn."""
    return sandbox_named(request.param)


@pytest.fixture
def cell(tmp_path: Path, sandbox: Sandbox) -> Cell:
    """A cell of each sandbox."""
    return Cell(tmp_path / "cell", sandbox, f"ses_{tmp_path.name}")


@pytest.fixture
def walled(tmp_path: Path) -> Cell:
    """A cell behind walls."""
    return Cell(tmp_path / "cell", sandbox_named("bubblewrap"), f"ses_{tmp_path.name}")
