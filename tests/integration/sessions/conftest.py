"""One stand for all tests of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.sessions.held_provider import HeldProvider
from tests.integration.stand_process import Project, StandProcess


@pytest.fixture(scope="package")
def held_provider() -> Iterator[HeldProvider]:
    """A provider that answers when a test says so."""
    with HeldProvider() as provider:
        yield provider


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory, held_provider: HeldProvider) -> Project:
    """A project as `dyno init` makes it, without the local model, and with clients that are launched by hand."""
    project = Project(tmp_path_factory.mktemp("sessions"))
    for unused in ("variants/local-free-text", "variants/local-json-schema", "experiments/free-text-or-schema"):
        (project.folder / f"configs/{unused}.yaml").unlink()
    project.write(
        "configs/providers/held.yaml",
        f"base_url: {held_provider.url}\n"
        "routes: {openai_chat: {litellm_provider: openai, path: /v1}}\n"
        "models: [held]\n",
    )
    for variant, provider, model in (("plain", "scripted", "hello"), ("held", "held", "held")):
        project.write(
            f"configs/variants/{variant}.yaml",
            f"provider: {provider}\nmodel: {model}\nharness_profile: openai-client\n",
        )
    project.write("configs/experiments/trial.yaml", "variants: [plain]\ntask_cards: [write-hello]\n")
    return project


@pytest.fixture(scope="package")
def stand(project: Project) -> Iterator[StandProcess]:
    """The stand of that project."""
    with StandProcess(project, OPENAI_API_KEY="") as running:
        yield running


@pytest.fixture
def work(project: Project, tmp_path: Path) -> Path:
    """A folder of the test's own, below the project: there `dyno` finds its settings."""
    folder = project.folder / "work" / tmp_path.name
    folder.mkdir(parents=True)
    return folder
