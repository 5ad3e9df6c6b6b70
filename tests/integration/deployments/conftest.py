"""A project whose provider is a LiteLLM deployment. No stand is up: none is needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.integration.deployments.deployment_server import DeploymentServer
from tests.integration.deployments.litellm_deployment import MODELS, LitellmDeployment
from tests.integration.sessions.client import rows
from tests.integration.stand_process import Project

MASTER_KEY = "sk-planted-Master-Key-of-a-deployment"
KEY_ENV = "PLANTED_ADMIN_KEY"


class TeamProject(Project):
    """A project with a variant for each model of a deployment, and one over Anthropic's messages.

    It is used in the shell of a person who has the admin key, unless another is given.
    """

    def __init__(self, folder: Path, template: Project, url: str) -> None:
        shutil.copytree(template.folder, folder, dirs_exist_ok=True)
        self.folder = folder
        self.repo = folder / "repo"
        self.write("dyno.yaml", "deployment: {logs_quiet_s: 0.8, logs_limit_s: 20}\n")
        self.write(
            "configs/providers/team.yaml",
            f"base_url: {url}/\n"
            f"deployment_key_env: {KEY_ENV}\n"
            "routes: {openai_chat: {litellm_provider: openai}, anthropic_messages: {litellm_provider: openai}}\n"
            f"models: [{', '.join(MODELS)}]\n",
        )
        for model in MODELS:
            self.write(f"configs/variants/{model}.yaml", variant(model, "openai-client", "small"))
        self.write("configs/variants/messages.yaml", variant("large", "anthropic-client"))

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return super().environ({KEY_ENV: MASTER_KEY, **(extra or {})})

    def table(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the ledger itself."""
        return rows(self.home / "ledger.sqlite", query, *values)

    def requests(self) -> list[dict[str, Any]]:
        """Every request, in order."""
        return self.table("SELECT * FROM request ORDER BY started_at_us")

    def create(self, model: str = "large") -> dict[str, Any]:
        """A session opened by hand."""
        options = ("--variant", model, "--task-card", "say-hello", "--repo", str(self.repo))
        document: dict[str, Any] = self.json("session", "create", *options)
        return document


def variant(model: str, profile: str, small_model: str | None = None) -> str:
    """The YAML of a variant of the deployment."""
    more = f"small_model: {small_model}\n" if small_model is not None else ""
    return f"provider: team\nmodel: {model}\nharness_profile: {profile}\n{more}"


CLIENT = """
import json, os, sys, urllib.error, urllib.request

url, key = sys.argv[1:3]
held = os.environ[key]
headers = {"authorization": "Bearer " + held, "x-api-key": held, "content-type": "application/json"}
for asked in json.loads(sys.argv[3]):
    body = json.dumps({"messages": [{"role": "user", "content": "planted words of a prompt"}], **asked}).encode()
    try:
        address = os.environ[url.partition("/")[0]] + "/" + url.partition("/")[2]
        with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
            answer.read()
    except urllib.error.HTTPError as refused:
        print("HTTP", refused.code)
open("environment.json", "w").write(json.dumps(dict(os.environ)))
"""
"""Asks one thing after the other, and leaves its environment for the test to look at."""


@pytest.fixture(scope="package")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What `dyno init` makes."""
    return Project(tmp_path_factory.mktemp("template"))


@pytest.fixture
def deployment() -> LitellmDeployment:
    """A deployment of the test's own."""
    return LitellmDeployment(MASTER_KEY)


@pytest.fixture
def server(deployment: LitellmDeployment) -> Iterator[DeploymentServer]:
    """It, answering."""
    with DeploymentServer(deployment) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, template: Project, server: DeploymentServer) -> TeamProject:
    """A project of the test's own."""
    return TeamProject(tmp_path, template, server.url)
