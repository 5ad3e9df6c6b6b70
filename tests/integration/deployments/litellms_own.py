"""Prints what the installed LiteLLM itself makes of a few calls: the rows of its table of logs, as JSON.

Run as a program: LiteLLM takes seconds to import, and leaves much behind. Nothing leaves the process: the answers are
LiteLLM's own mocks.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

KEY = "ab" * 32
_MESSAGES = [{"role": "user", "content": "planted words of a prompt"}]
_MODEL = "gpt-3.5-turbo"


async def _logged() -> list[dict[str, Any]]:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

    made: list[dict[str, Any]] = []
    identity = {"user_api_key": KEY, "user_api_key_hash": KEY, "user_api_key_alias": "plain", "model_group": "large"}

    class Logger(CustomLogger):  # type: ignore[misc]  # LiteLLM carries no types that mypy follows here
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            kwargs["litellm_params"]["metadata"].update(identity)
            made.append(dict(get_logging_payload(kwargs, response_obj, start_time, end_time)))

    litellm.callbacks = [Logger()]
    common = {"model": _MODEL, "messages": _MESSAGES, "mock_response": "planted words", "api_key": "none"}
    await litellm.acompletion(**common, metadata={})
    async for _ in await litellm.acompletion(**common, stream=True, metadata={}):
        pass
    while len(made) < 2:
        await asyncio.sleep(0.02)
    return [*made, *_failed(identity)]


def _failed(identity: dict[str, str]) -> list[dict[str, Any]]:
    """Failures as the proxy's own hook logs them."""
    import litellm
    from litellm.litellm_core_utils.litellm_logging import StandardLoggingPayloadSetup
    from litellm.proxy._types import ProxyException
    from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

    limited = litellm.RateLimitError(message="planted words", llm_provider="openai", model=_MODEL)
    denied = ProxyException(message="planted words", type="key_model_access_denied", param="model", code=403)
    made = []
    for number, exception in enumerate((limited, denied)):
        error = StandardLoggingPayloadSetup.get_error_information(original_exception=exception)
        metadata = {**identity, "status": "failure", "error_information": error}
        call = {"model": "large", "litellm_call_id": f"call-{number}", "litellm_params": {"metadata": metadata}}
        now = datetime.now(UTC)
        made.append(dict(get_logging_payload(call, exception, now, now)))
    return made


def _asked(body: dict[str, Any]) -> dict[str, Any]:
    """What LiteLLM reads of a body for `/key/generate`."""
    from litellm.litellm_core_utils.duration_parser import duration_in_seconds
    from litellm.proxy._types import GenerateKeyRequest, hash_token

    read = GenerateKeyRequest(**body)
    return {
        "unknown": sorted(set(body) - set(GenerateKeyRequest.model_fields)),
        "read": read.model_dump(mode="json", include=set(body)),
        "duration_s": duration_in_seconds(body["duration"]),
        "hash": hash_token("sk-key"),
    }


def main() -> None:
    """Print everything as one JSON document; the body is the argument."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    logs = asyncio.run(_logged())
    sys.stdout.write(json.dumps({"logs": logs, **_asked(json.loads(sys.argv[1]))}, default=_written))


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main()
