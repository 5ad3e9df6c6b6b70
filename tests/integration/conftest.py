"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.ledgers import Ledgers, PostgresLedgers, SqliteLedgers
from tests.integration.postgres_server import PostgresServer
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


@pytest.fixture(scope="session")
def postgres_ledgers() -> Iterator[PostgresLedgers]:
    """Databases of a server that is up for all tests."""
    with PostgresServer() as server:
        yield PostgresLedgers(server)


@pytest.fixture(scope="session")
def sqlite_ledgers(tmp_path_factory: pytest.TempPathFactory) -> SqliteLedgers:
    """Files in a folder of their own."""
    return SqliteLedgers(tmp_path_factory.mktemp("ledgers"))


@pytest.fixture(scope="session", params=["sqlite_ledgers", "postgres_ledgers"])
def ledgers(request: pytest.FixtureRequest) -> Ledgers:
    """Ledgers in each of the two databases."""
    chosen: Ledgers = request.getfixturevalue(request.param)
    return chosen
