from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.core.ids import session_key
from agentdyno.core.secrets import BLOT, find_secrets, redact


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefgh",
        "sk-proj-Ab3_x-9ZZZZ",
        "hf_abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-1234567890",
        "9f86d081884c7d659a2feaa0c55ad015",
        "q7Xk2mP9vR4tL8wZ3nB6yC1d",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_secrets_are_found_among_words(secret: str) -> None:
    assert find_secrets(f'key: "{secret}", and so on') == (secret,)
    assert redact(f"Bearer {secret}!") == f"Bearer {BLOT}!"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MY_PROVIDER_API_KEY",
        "task-sk-12",
        "accounts/fireworks/models/llama-v3p1-405b-instruct",
        "Llama-4-Maverick-17B-128E-Instruct-FP8",
        "Qwen2ForConditionalGenerationWithHeads",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit: 0123456789abcdef0123456789abcdef01234567",
        "ses_01jd3q5w8k0000000000000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/home/someone/a/very/long/path/to/a/file/with/many/parts.json",
    ],
)
def test_names_paths_models_and_digests_are_no_secrets(text: str) -> None:
    assert find_secrets(text) == ()
    assert redact(text) == text


@given(st.binary(min_size=32, max_size=32), st.text(alphabet=" \n\"'=:,;", min_size=1, max_size=5))
def test_a_session_key_is_always_found(random: bytes, around: str) -> None:
    key = session_key(random)

    assert key not in redact(f"{around}{key}{around}")


@given(
    st.binary(min_size=32, max_size=32), st.integers(1, 43), st.text("aZ9_-/ ", max_size=5), st.text("/. ", max_size=2)
)
def test_of_a_session_key_nothing_is_left_whatever_it_is_glued_to(
    random: bytes, length: int, before: str, after: str
) -> None:
    key = session_key(random)
    cut = key[: len("sk-dyno-") + length]

    assert redact(f"{before}{cut}{after}{key}") in (f"{before}{BLOT}{after}{BLOT}", f"{before}{BLOT}")


def test_secrets_that_hold_or_overlap_one_another_are_blotted_out_whole() -> None:
    assert redact("sk-dyno-ab and sk-dyno-abcd") == f"{BLOT} and {BLOT}"
    assert redact("q7Xk2mP9vR4tL8wZ3nB6yC1dsk-dyno-ab") == BLOT
    assert redact("see sk-dyno-…") == "see sk-dyno-…"


@given(st.binary(min_size=8, max_size=24))
def test_a_token_with_a_well_known_prefix_is_always_found(random: bytes) -> None:
    token = "sk-" + base64.urlsafe_b64encode(random).decode().rstrip("=")

    assert token in find_secrets(f"x {token} y")
