"""The one structured logger: JSON lines on standard error, with session and step where they are bound, secrets
redacted.

Redaction stands at the sink: whatever reaches it, LiteLLM's and uvicorn's records included, passes through.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import Processor

from agentdyno.core.secrets import BLOT, redact


class _RedactingStream:
    """A text stream that redacts every line before it is written."""

    def __init__(self, stream: TextIO, known_secrets: Sequence[str]) -> None:
        self._stream = stream
        self._known_secrets = [secret for secret in known_secrets if secret]

    def write(self, text: str) -> int:
        for secret in self._known_secrets:
            text = text.replace(secret, BLOT)
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def configure_logging(
    level: int = logging.INFO, stream: TextIO | None = None, known_secrets: Sequence[str] = ()
) -> None:
    """Send every log record of this process to `stream` (standard error) as one JSON object a line.

    `known_secrets` are values that must not appear, in addition to whatever looks like a secret.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_RedactingStream(stream or sys.stderr, known_secrets))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
