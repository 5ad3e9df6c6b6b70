"""A gateway's spool writer in a process of its own, told by lines on its standard input what to do.

Each line is a JSON array: `["append", key]`, `["hold", key]`, `["flush"]`, or `["room", bytes]`, which lets the segment
grow by so much and no more. The answer is a JSON object: what went wrong, and how many records wait.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from agentdyno.core.errors import SpoolFull
from agentdyno.core.exchange import Entered
from agentdyno.store.spool import SpoolWriter


def main(spool: Path, gateway_id: str) -> None:
    """Serve until the input ends."""
    writer = SpoolWriter(spool, gateway_id)
    segment = spool / gateway_id / "000001.jsonl"
    answer(None, writer)
    for line in sys.stdin:
        try:
            obey(json.loads(line), writer, segment)
        except SpoolFull as full:
            answer(str(full), writer)
        else:
            answer(None, writer)


def obey(order: list[str | int], writer: SpoolWriter, segment: Path) -> None:
    """Do one thing."""
    match order:
        case ["append", str(key)]:
            writer.append(entered(key))
        case ["hold", str(key)]:
            writer.append_or_hold(entered(key))
        case ["flush"]:
            writer.flush()
        case ["room", int(room_bytes)]:
            limit_bytes = segment.stat().st_size + room_bytes
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
        case _:
            raise ValueError(order)


def entered(key: str) -> Entered:
    """A record that says nothing but its key."""
    return Entered(key, at_us=0, path="/v1/messages", request_bytes=0)


def answer(full: str | None, writer: SpoolWriter) -> None:
    """Say how it went."""
    sys.stdout.write(json.dumps({"full": full, "backlog": writer.backlog}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
