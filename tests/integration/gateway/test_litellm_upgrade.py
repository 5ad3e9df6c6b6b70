"""What the gateway takes for granted of LiteLLM, and what it does where a later version is otherwise."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from agentdyno.gateway.litellm_config import litellm_config
from agentdyno.gateway.warm_up import warm_up_provider
from agentdyno.store.address import naming
from agentdyno.store.ledger import Ledger

ASKING = """
import asyncio, sys, threading
import litellm
from litellm.main import completion
from agentdyno.gateway.preparation import NAME, PreparingExecutor

async def ask(model):
    nobody = {"api_base": "http://127.0.0.1:9/v1", "api_key": "none"}
    try:
        await litellm.acompletion(model, [{"role": "user", "content": "hi"}], **nobody, max_retries=0)
    except litellm.InternalServerError:
        return sum(thread.name.startswith(NAME) for thread in threading.enumerate())

async def main(model):
    await ask(model)  # only once does its client look, in a thread, at what machine this is
    asyncio.get_running_loop().set_default_executor(PreparingExecutor(completion))
    print(await ask(model))

asyncio.run(main(sys.argv[1]))
"""
"""Asks for a chat, in vain, and prints how many threads of the event loop were begun for it."""


@pytest.mark.parametrize(("model", "threads"), [("openai/m", 0), ("hosted_vllm/m", 1)])
def test_chats_for_openais_client_are_prepared_in_no_thread(model: str, threads: int) -> None:
    offline = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    asked = subprocess.run(
        [sys.executable, "-c", ASKING, model], env=offline, capture_output=True, text=True, check=True, timeout=120
    )
    assert asked.stdout.splitlines()[-1] == str(threads)


def test_a_gateway_that_would_not_see_the_providers_does_not_come_up(tmp_path: Path) -> None:
    address = tmp_path / "ledger.sqlite"
    Ledger.open(address).close()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as warm_up_listener:
        config = litellm_config([warm_up_provider(warm_up_listener.getsockname()[1])], {})
        # LiteLLM's own switch to another HTTP client.
        config["litellm_settings"]["disable_aiohttp_transport"] = True
        (tmp_path / "litellm.yaml").write_text(yaml.safe_dump(config))
        (tmp_path / "prices.json").write_text("{}")
        fds = (listener.fileno(), warm_up_listener.fileno())
        arguments = [
            *("--spool", str(tmp_path / "spool"), "--gateway-id", "gw_1"),
            *("--litellm-config", str(tmp_path / "litellm.yaml"), "--price-sources", str(tmp_path / "prices.json")),
            *("--listen-fd", str(fds[0]), "--warm-up-fd", str(fds[1])),
        ]
        with subprocess.Popen(
            [sys.executable, "-m", "agentdyno.gateway", *arguments],
            env={**os.environ, **naming(address)},
            stdin=subprocess.PIPE,  # it would stop at its end
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=fds,
        ) as gateway:
            assert gateway.wait(120) != 0
            assert gateway.stderr is not None
            said = gateway.stderr.read()
    surfaces = "anthropic_messages, gemini, openai_chat, openai_responses"
    assert said.splitlines()[-1].startswith(f"LiteLLM {version('litellm')} sends past the egress meter: {surfaces};")
