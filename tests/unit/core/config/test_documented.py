"""The provider of docs/configuration.md, put together from its pieces, is one that can be loaded."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.core.config.small_project import added

from agentdyno.core.config import load
from agentdyno.core.records import ModelPrice

PAGE = Path(__file__).parents[4] / "docs" / "configuration.md"
FILE = "configs/providers/my-server.yaml"


def test_the_provider_of_the_page() -> None:
    section = PAGE.read_text().partition("## A provider of one's own")[2].partition("\n## ")[0]
    pieces = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)

    provider = load(added(FILE, "".join(pieces))).provider("my-server")

    assert provider.prices == {"my-model": ModelPrice(3.0, 15.0, 0.3, 3.75)}
    assert provider.metering == "pass_through"
