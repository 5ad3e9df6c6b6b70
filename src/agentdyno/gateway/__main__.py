"""`python -m agentdyno.gateway`: started by the stand, which hands over the listening sockets."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import socket
from pathlib import Path

from uvicorn.loops.auto import auto_loop_factory

from agentdyno.core.errors import DynoError
from agentdyno.gateway.server import GatewaySettings, serve
from agentdyno.logs import configure_logging
from agentdyno.store.address import DATABASE_URL, named_ledger


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="agentdyno.gateway")
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--gateway-id", required=True)
    parser.add_argument("--litellm-config", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int, required=True, action="append", help="may be given again")
    parser.add_argument("--warm-up-fd", type=int, required=True)
    parser.add_argument("--price-sources", type=Path, required=True)
    parser.add_argument("--secret-env", action="append", default=[], help="NAME of a variable whose value is a secret")
    arguments = parser.parse_args()
    configure_logging(known_secrets=[os.environ.get(name, "") for name in (*arguments.secret_env, DATABASE_URL)])
    ledger = named_ledger(os.environ)
    if ledger is None:
        parser.error(f"{DATABASE_URL} names no ledger")
    settings = GatewaySettings(
        ledger,
        arguments.spool,
        arguments.gateway_id,
        arguments.litellm_config,
        arguments.price_sources,
    )
    listeners = [socket.socket(fileno=fd) for fd in arguments.listen_fd]
    warm_up_listener = socket.socket(fileno=arguments.warm_up_fd)
    # LiteLLM prints, traces included, past the log and its redaction.
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        # uvloop, where it is installed: LiteLLM's own command line serves on it too.
        asyncio.Runner(loop_factory=auto_loop_factory()) as runner,
    ):
        lost_records = runner.run(serve(settings, listeners, warm_up_listener))
        # Nothing more is written. To sort LiteLLM's heap once more on the way out would take seconds.
        gc.freeze()
    if lost_records:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except DynoError as fault:
        raise SystemExit(str(fault)) from fault  # the stand shows the last line of the log
