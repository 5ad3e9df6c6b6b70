"""The contract, with a LiteLLM deployment of one's own: `make test-deployment`. No test of every day."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_bytes

import httpx
import pytest
from tests.integration.deployments.contract import KEY_ENV, Place, walk
from tests.integration.ledgers import empty_ledger

URL_ENV, MODEL_ENV = "LITELLM_TEST_URL", "LITELLM_TEST_MODEL"


def test_a_real_deployment(tmp_path: Path) -> None:
    url, admin_key = os.environ.get(URL_ENV), os.environ.get(KEY_ENV)
    if not url or not admin_key:
        pytest.fail(f"set {URL_ENV} and {KEY_ENV}: see docs/deployments.md", pytrace=False)
    with empty_ledger(tmp_path) as ledger:
        place = Place(url, os.environ, os.environ.get(MODEL_ENV) or first_model(url, admin_key), 75, 300)
        walk(place, ledger, token_bytes(10))


def first_model(url: str, admin_key: str) -> str:
    """The first that the deployment lists."""
    headers = {"authorization": f"Bearer {admin_key}"}
    listed = httpx.get(f"{url.rstrip('/')}/v1/models", headers=headers, timeout=30).json()["data"]
    model: str = listed[0]["id"]
    return model
