"""The two gateways that the benchmark compares, each in front of the same upstream."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from load import Target
from stub_upstream import MODEL

BIN = Path(sys.executable).parent
_START_TIMEOUT_S = 120
_MASTER_KEY = "sk-benchmark"
_ENVIRON = {
    **{name: value for name, value in os.environ.items() if name not in ("DYNO_HOME", "DATABASE_URL")},
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_MASTER_KEY": _MASTER_KEY,
}

_LITELLM_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{upstream}/v1", api_key: none}}
litellm_settings: {{num_retries: 0, request_timeout: 6000, telemetry: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
"""

_PROJECT = {
    "dyno.yaml": "",
    "configs/providers/stub.yaml": """
base_url: {upstream}
routes:
  openai_chat: {{litellm_provider: openai, path: /v1}}
models: [{model}]
""",
    "configs/harness_profiles/client.yaml": """
surface: openai_chat
env: {{KEY: "${{session_key}}"}}
""",
    "configs/variants/bench.yaml": """
provider: stub
model: {model}
harness_profile: client
""",
    "configs/task_cards/load.yaml": """
goal: Answer as many requests as there are.
prompt: How fast is it?
""",
}


class Gateway(NamedTuple):
    """A gateway that serves."""

    target: Target
    pid: int
    """The process that serves the requests."""


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """The stub as a process of its own; its address."""
    script = Path(__file__).with_name("stub_upstream.py")
    with _process([sys.executable, str(script)], folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextlib.contextmanager
def bare_litellm(folder: Path, upstream: str) -> Iterator[Gateway]:
    """`litellm --config`, with its master key and no callbacks."""
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM_CONFIG.format(model=MODEL, upstream=upstream))
    port = _free_port()
    command = [str(BIN / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, folder) as process:
        _wait(process, lambda: _is_alive(f"http://127.0.0.1:{port}/health/liveliness"))
        yield Gateway(Target("127.0.0.1", port, _MASTER_KEY, MODEL), process.pid)


@contextlib.contextmanager
def stand(folder: Path, upstream: str, **environ: str) -> Iterator[Gateway]:
    """`dyno up` as a person runs it, with its collector, and a session opened by `dyno session create`.

    Keywords are further environment variables of its processes.
    """
    for path, text in _PROJECT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.format(model=MODEL, upstream=upstream))
    git = ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "start"], check=True)
    state = folder / ".dyno" / "stand.json"
    with _process([str(BIN / "dyno"), "up", "--port", "0"], folder, environ=environ) as process:
        _wait(process, state.exists)
        create = [str(BIN / "dyno"), "session", "create", "--variant", "bench", "--task-card", "load", "--json"]
        created = subprocess.run(create, cwd=folder, env=_ENVIRON, check=True, capture_output=True, text=True)
        facts = json.loads(state.read_text())
        port = int(facts["gateway_url"].rpartition(":")[2])
        key = json.loads(created.stdout)["env"]["KEY"]
        yield Gateway(Target("127.0.0.1", port, key, MODEL), facts["gateway_pid"])


@contextlib.contextmanager
def _process(
    command: list[str], folder: Path, stdout: int | None = None, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**_ENVIRON, **environ},
            stdin=subprocess.DEVNULL,
            stdout=stdout or said,
            stderr=said,
        )
    try:
        yield process
    except BaseException as error:
        error.add_note((folder / "said").read_text()[-2000:])
        raise
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not come up")
        time.sleep(0.05)


def _is_alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
