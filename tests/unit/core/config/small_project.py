"""The smallest configuration that has one entity of each kind, as texts by path."""

from __future__ import annotations

PROVIDER = "configs/providers/mine.yaml"
PROFILE = "configs/harness_profiles/client.yaml"
VARIANT = "configs/variants/first.yaml"
TASK_CARD = "configs/task_cards/hello.yaml"
EXPERIMENT = "configs/experiments/trial.yaml"

SMALL_PROJECT = {
    "dyno.yaml": "",
    PROVIDER: """\
routes:
  openai_chat: {litellm_provider: openai, path: /v1}
models: [small, large]
api_key_env: MINE_API_KEY
""",
    PROFILE: """\
surface: openai_chat
env:
  API_KEY: ${session_key}
files:
  client.json: '{"url": "${gateway_url}", "retries": ${retries}}'
command: [client, "${prompt}"]
settings:
  retries: "1"
""",
    VARIANT: """\
provider: mine
model: small
harness_profile: client
settings:
  retries: "0"
""",
    TASK_CARD: """\
goal: a greeting
prompt: Say hello.
checks:
  - {kind: file_matches, file: answer.txt, pattern: Hello}
  - {kind: json_equals, file: answer.json, path: a.b, value: false}
""",
    EXPERIMENT: """\
variants: [first]
task_cards: [hello]
baseline: first
""",
}


def changed(file: str, old: str, new: str) -> dict[str, str]:
    """The small project with one text changed in one file; the text must be there."""
    text = SMALL_PROJECT[file]
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
    return {**SMALL_PROJECT, file: text.replace(old, new)}


def added(file: str, text: str) -> dict[str, str]:
    """The small project with one file more."""
    return {**SMALL_PROJECT, file: text}
