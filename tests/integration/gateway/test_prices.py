"""What a request cost, and what nobody knows of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import ask, rows
from tests.integration.gateway.upstream import Upstream
from tests.integration.stand_process import StandProcess

ROUTE = "routes:\n  openai_chat: {litellm_provider: openai, path: /v1}\n"


def test_only_a_vendor_at_its_own_address_has_its_price(tmp_path: Path) -> None:
    project = lab.small_project(tmp_path)
    with Upstream() as upstream:
        models = "models: [gpt-4o-mini, unheard-of, silent]\n"
        project.write("configs/providers/vendor.yaml", ROUTE + models + "api_key_env: VENDOR_KEY\n")
        project.write("configs/providers/elsewhere.yaml", ROUTE + models + f"base_url: {upstream.url}\n")
        lab.write_variants(project, ["gpt-4o-mini", "unheard-of", "silent"], provider="vendor")
        lab.write_variants(project, ["gpt-4o-mini"], provider="elsewhere")
        with StandProcess(project, VENDOR_KEY="any", OPENAI_BASE_URL=f"{upstream.url}/v1") as stand:
            keys = {
                (provider, model): lab.open_session(project, model, provider=provider)
                for provider, model in (
                    ("vendor", "gpt-4o-mini"),
                    ("vendor", "unheard-of"),
                    ("vendor", "silent"),
                    ("elsewhere", "gpt-4o-mini"),
                )
            }
            for key in keys.values():
                assert ask(stand, key).status_code == 200
            found = {name: rows(project, key.session_id, 1, settled=True)[0] for name, key in keys.items()}

    # 5 tokens at 0.15 USD and 2 at 0.60 USD a million
    assert found["vendor", "gpt-4o-mini"]["cost_usd"] == pytest.approx(1.95e-6)
    assert found["vendor", "gpt-4o-mini"]["price_table_version"] is not None
    for name in (("vendor", "unheard-of"), ("vendor", "silent"), ("elsewhere", "gpt-4o-mini")):
        assert (found[name]["cost_usd"], found[name]["price_table_version"]) == (None, None)
    assert {row["input_tokens"] for name, row in found.items() if name[1] != "silent"} == {5}
    silent = found["vendor", "silent"]
    assert (silent["input_tokens"], silent["output_tokens"], silent["usage_source"]) == (None, None, None)
