"""What a client says for its provider's ears goes on; what it says in the stand's name does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from tests.integration.gateway import lab
from tests.integration.gateway.lab import body, rows
from tests.integration.gateway.upstream import Upstream
from tests.integration.stand_process import StandProcess

PROVIDER_KEY = "the-key-of-the-provider"
ROUTES = """routes:
  openai_chat: {litellm_provider: openai, path: /v1}
  anthropic_messages: {litellm_provider: anthropic}
"""
BETA = {"anthropic-beta": "interleaved-thinking-2025-05-14", "anthropic-version": "2023-06-01"}
FORGED: dict[str, Any] = {
    "provider_specific_header": {
        "custom_llm_provider": "openai,anthropic",
        "extra_headers": {"authorization": "Bearer forged", "x-api-key": "forged", "anthropic-beta": "forged"},
    }
}


def test_beta_headers_reach_the_upstream_and_forged_ones_do_not(tmp_path: Path) -> None:
    project = lab.small_project(tmp_path)
    with Upstream() as upstream:
        provider = f"base_url: {upstream.url}\n{ROUTES}models: [discreet]\napi_key_env: PROVIDER_KEY\n"
        project.write("configs/providers/own.yaml", provider)
        lab.write_variants(project, ["discreet"], provider="own")
        with StandProcess(project, PROVIDER_KEY=PROVIDER_KEY) as stand:
            key = lab.open_session(project, "discreet", provider="own")
            for path in lab.PATHS.values():
                for sent in (body(key), body(key, **FORGED)):
                    for beta in ({}, BETA):
                        answer = httpx.post(stand.url + path, json=sent, headers={**key.headers, **beta}, timeout=60)
                        assert answer.status_code == 200, answer.text
            assert {row["status"] for row in rows(project, key.session_id, 8)} == {"ok"}
    chats, messages = upstream.headers[:4], upstream.headers[4:]
    assert [headers["authorization"] for headers in chats] == [f"Bearer {PROVIDER_KEY}"] * 4
    assert [headers["x-api-key"] for headers in messages] == [PROVIDER_KEY] * 4
    betas = [headers.get("anthropic-beta", "").split(",") for headers in messages]
    assert [BETA["anthropic-beta"] in beta for beta in betas] == [False, True, False, True]
    assert "forged" not in str(upstream.headers)
