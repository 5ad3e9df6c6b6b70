"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.stand_process import Project, StandProcess


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project as `dyno init` makes it."""
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def stand(project: Project) -> Iterator[StandProcess]:
    """The stand of that project, up for the tests of one module; those that kill it start their own."""
    with StandProcess(project) as running:
        yield running
