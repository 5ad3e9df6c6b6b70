"""The page of what a harness sent, as it is printed, and the same for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.unit.core.request_rows import request_row

from agentdyno.core.prefix import Break
from agentdyno.core.records import Request
from agentdyno.reporting.anatomy_page import document, render_anatomy, said, session_anatomy

GOLDEN = Path(__file__).with_name("golden") / "anatomy_page.txt"
TOOLS, OTHER_TOOLS = ("tools", 6_000, "tools_1"), ("tools", 6_400, "tools_2")
SYSTEM = ("system", 2_000, "system_1")
TASK, CALL, RESULT = ("user", 400, "user_1"), ("assistant", 300, "call_1"), ("tool_result", 1_300, "result_1")


def request(number: int, *parts: tuple[str, int, str], **fields: Any) -> Request:
    """A request of these parts."""
    sizes = {kind: sum(size for known, size, _ in parts if known == kind) for kind, *_ in parts}
    history = sizes.get("user", 0) + sizes.get("assistant", 0)
    measured: dict[str, Any] = {
        "tools": 9 if "tools" in sizes else 0,
        "tools_bytes": sizes.get("tools", 0),
        "system_bytes": sizes.get("system", 0),
        "history_bytes": history,
        "tool_results_bytes": sizes.get("tool_result", 0),
        "media_bytes": 0,
        "messages": sum(kind not in ("tools", "system") for kind, *_ in parts),
        "prefix": json.dumps(parts),
    }
    return request_row(
        request_key=f"req_{number}", started_at_us=number, surface="anthropic_messages", **measured | fields
    )


SESSION = [
    request_row(request_key="req_0", prefix=None),
    request(1, TOOLS, SYSTEM, TASK, input_tokens=2_100, cache_read_tokens=0, cache_write_tokens=2_000),
    request(2, TOOLS, SYSTEM, TASK, CALL, RESULT, input_tokens=2_500, cache_read_tokens=2_000, cache_write_tokens=400),
    request(3, ("user", 800, "title"), input_tokens=None, purpose="title", status="provider_error"),
    request(4, OTHER_TOOLS, SYSTEM, TASK, CALL, RESULT, input_tokens=2_600, cache_read_tokens=0),
    request(5, TOOLS, SYSTEM, TASK, media_bytes=52_000, input_tokens=3_000, cache_read_tokens=2_000),
]


def lines(*requests: Request) -> list[str]:
    console = Console(width=200, force_terminal=False, color_system=None)
    printed: list[str] = []
    for part in render_anatomy(session_anatomy("ses_1", requests)):
        with console.capture() as captured:
            console.print(part)
        printed += [*(line.rstrip() for line in captured.get().splitlines()), ""]
    return printed[:-1]


def test_the_page() -> None:
    assert lines(*SESSION) == GOLDEN.read_text().splitlines()


def test_without_files_nothing_is_said_of_them() -> None:
    assert not any("media" in line for line in lines(*SESSION[:4]))


def test_what_nobody_measured_is_one_line() -> None:
    assert lines(SESSION[0]) == [
        "1 request has no anatomy: refused by the stand, not forwarded, or of an agentdyno that did not measure it"
    ]
    assert lines(request_row(prefix=None, purpose="token_count")) == []


def test_the_document_says_the_same() -> None:
    found = document(session_anatomy("ses_1", SESSION))

    assert (found["session_id"], found["unmeasured_requests"]) == ("ses_1", 1)
    assert [(each["purpose"], len(each["turns"])) for each in found["conversations"]] == [("work", 4), ("title", 1)]
    changed = found["conversations"][0]["turns"][2]
    assert changed == {
        "request_key": "req_4",
        "continues": "req_2",
        "status": "ok",
        "messages": 3,
        "tools": 9,
        "bytes": {"system": 2_000, "tools": 6_400, "history": 700, "tool_results": 1_300, "media": 0},
        # 10,400 bytes are 2,600 tokens: 4 bytes a token
        "estimated_tokens": {"system": 500, "tools": 1_600, "history": 175, "tool_results": 325},
        "input_tokens": 2_600,
        "cache_read_tokens": 0,
        "cache_write_tokens": None,
        "cache_share": 0.0,
        "parts": 5,
        "prefix_bytes": 10_400,
        "kept_parts": 0,
        "kept_bytes": 0,
        "kept_share": 0.0,
        "broken": {
            **{"part": 0, "kind": "tools", "what": "changed", "number": 1, "parts": 1},
            "said": "tools changed",
        },
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Break(0, "tools", "changed", 1, 1), "tools changed"),
        (Break(0, "tools", "inserted", 1, 1), "1 part put in at tools"),
        (Break(2, "system", "changed", 2, 1), "system block 2 changed"),
        (Break(2, "system", "cut", 2, 1), "1 part gone from system block 2 on"),
        (Break(8, "assistant", "rewritten", 7, 0), "message 7 (assistant) was rewritten"),
        (
            Break(8, "tool_result", "rewritten", 7, 2),
            "message 7 (tool result) was rewritten, 2 messages fewer than before",
        ),
        (Break(3, "user", "cut", 2, 12), "history was cut: 12 messages gone from message 2 (user) on"),
        (Break(3, "user", "inserted", 2, 1), "1 message put in at message 2 (user)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_break_in_words(broken: Break, words: str) -> None:
    assert said(broken) == words
