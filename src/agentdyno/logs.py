"""The one structured logger: JSON lines with the session and step where they are bound, secrets redacted.

Modules log through the standard library. Redaction stands at the sink, so that whatever reaches it passes through, the
records of LiteLLM and uvicorn included.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from agentdyno.core.secrets import BLOT, redact


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """One JSON object a line, with every secret blotted out."""

    def __init__(self, known_secrets: Sequence[str]) -> None:
        super().__init__(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
        self._known_secrets = [secret for secret in known_secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._known_secrets:
            text = text.replace(secret, BLOT)
        return redact(text)


def configure_logging(file: Path | None = None, known_secrets: Sequence[str] = ()) -> None:
    """Send every log record of this process to a file, or to standard error.

    `known_secrets` are values that must not appear, in addition to whatever looks like a secret.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, delay=True)
    handler.setFormatter(_RedactingFormatter(known_secrets))
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
