"""The stand-in keeps the contract that a real deployment is held to by `make test-deployment`."""

from __future__ import annotations

from tests.integration.deployments.conftest import MASTER_KEY
from tests.integration.deployments.contract import KEY_ENV, Place, walk
from tests.integration.deployments.deployment_server import DeploymentServer
from tests.integration.ledgers import Ledgers, opened


def test_contract(ledgers: Ledgers, server: DeploymentServer) -> None:
    with opened(ledgers) as ledger:
        walk(Place(server.url, {KEY_ENV: MASTER_KEY}, "large", 0.6, 30), ledger, bytes(10))
