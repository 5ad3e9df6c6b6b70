"""One fault hides no other and causes none: what a person sees in one run is all that there is to mend."""

from __future__ import annotations

import pytest
from tests.unit.core.config.small_project import EXPERIMENT, PROFILE, PROVIDER, SMALL_PROJECT, TASK_CARD, VARIANT
from tests.unit.core.config.test_faults import MEANING, faults_of


def test_one_file_shows_a_fault_of_each_kind() -> None:
    variant = """\
description: 5
colour: red
provider: min
model: small
harness_profile: client
settings:
  retries: 0
  retrys: "1"
env:
  URL: ${gateway_uri}
  MORE-URLS: ${gateway_url
"""

    assert faults_of({**SMALL_PROJECT, VARIANT: variant}) == [
        "configs/variants/first.yaml:1: description expected text, found the number 5; write it in quotes",
        'configs/variants/first.yaml:2: colour is not a field here; there is "description", "env", '
        '"harness_profile", "home_files", "model", "name", "provider", "settings", "setup", "small_model", '
        '"workspace_files"',
        'configs/variants/first.yaml:3: provider "min" is not defined; did you mean "mine"?',
        "configs/variants/first.yaml:7: settings.retries expected text, found the number 0; write it in quotes",
        'configs/variants/first.yaml:8: settings.retrys is not a setting of harness profile "client"; '
        'did you mean "retries"?',
        'configs/variants/first.yaml:10: env.URL uses "gateway_uri", which is not defined; did you mean "gateway_url"?',
        "configs/variants/first.yaml:11: env.MORE-URLS has a ${ that begins no ${name}; "
        "a dollar sign itself is written $$",
        "configs/variants/first.yaml:11: env.MORE-URLS is not the name of an environment variable",
    ]


def test_every_file_shows_its_faults() -> None:
    files = {
        "dyno.yaml": "gateway: {host: 1, port: 70000}\nsession: {time_to_live_s: soon}",
        PROVIDER: "routes:\n  openai_chat: {litellm_provider: 1, path: v1}\nmodels: [small]\nbase_url: localhost\n",
        PROFILE: """\
surface: openai_chat
command: client ${prompt}
env: {KEY: "${sesion_key}", RETRIES: "${retries}"}
files: {../client.json: 1}
settings: {retries: 1}
""",
        VARIANT: "provider: mine\nmodel: smal\nharness_profile: client\nsettings: {foo: 1}\n",
        TASK_CARD: """\
goal: 1
prompt: Say hello.
timebox_s: -1
checks:
  - {kind: file_matches, file: ../answer.txt, pattern: 1}
  - {kind: file_matches, file: 2, pattern: "("}
  - {kind: file_match, file: /answer.txt}
""",
        EXPERIMENT: "variants: [first, 2, frist]\ntask_cards: hello\nbaseline: firs\nrepeats: 0\n",
    }

    assert faults_of(files) == [
        "configs/experiments/trial.yaml:1: variants[1] expected text, found the number 2; write it in quotes",
        'configs/experiments/trial.yaml:1: variants[2] "frist" is not defined; did you mean "first"?',
        'configs/experiments/trial.yaml:2: task_cards expected a list, found "hello"',
        'configs/experiments/trial.yaml:3: baseline "firs" is not defined; did you mean "first"?',
        "configs/experiments/trial.yaml:4: repeats is 0; expected at least 1",
        'configs/harness_profiles/client.yaml:2: command expected a list, found "client ${prompt}"',
        'configs/harness_profiles/client.yaml:3: env.KEY uses "sesion_key", which is not defined; '
        'did you mean "session_key"?',
        "configs/harness_profiles/client.yaml:4: files.../client.json expected text, found the number 1; "
        "write it in quotes",
        "configs/harness_profiles/client.yaml:4: files.../client.json is not a path below ${files_dir}",
        "configs/harness_profiles/client.yaml:5: settings.retries expected text, found the number 1; "
        "write it in quotes",
        "configs/providers/mine.yaml:2: routes.openai_chat.litellm_provider expected text, found the number 1; "
        "write it in quotes",
        'configs/providers/mine.yaml:2: routes.openai_chat.path is "v1"; '
        "expected a slash in front and none at the end, such as /v1",
        "configs/providers/mine.yaml:4: base_url is not an address; expected http://… or https://…, "
        "without credentials",
        "configs/task_cards/hello.yaml:1: goal expected text, found the number 1; write it in quotes",
        "configs/task_cards/hello.yaml:3: timebox_s is -1; expected more than 0 seconds",
        "configs/task_cards/hello.yaml:5: checks[0].file is not a path inside the session's working folder",
        "configs/task_cards/hello.yaml:5: checks[0].pattern expected text, found the number 1; write it in quotes",
        "configs/task_cards/hello.yaml:6: checks[1].file expected text, found the number 2; write it in quotes",
        "configs/task_cards/hello.yaml:6: checks[1].pattern is not a regular expression: missing ), unterminated "
        "subpattern at position 0",
        "configs/task_cards/hello.yaml:7: checks[2].file is not a path inside the session's working folder",
        "configs/task_cards/hello.yaml:7: checks[2].kind expected one of file_exists, file_matches, json_equals, "
        'command, tests_pass, diff, tool_used, found "file_match"; did you mean "file_matches"?',
        'configs/variants/first.yaml:2: model "smal" is not a model of provider "mine"; did you mean "small"?',
        "configs/variants/first.yaml:4: settings.foo expected text, found the number 1; write it in quotes",
        'configs/variants/first.yaml:4: settings.foo is not a setting of harness profile "client"; there is "retries"',
        "dyno.yaml:1: gateway.host expected text, found the number 1; write it in quotes",
        "dyno.yaml:1: gateway.port is 70000; expected 0 to 65535",
        'dyno.yaml:2: session.time_to_live_s expected a number, found "soon"',
    ]


@pytest.mark.parametrize(("files", "message"), MEANING, ids=[message.partition(": ")[2][:40] for _, message in MEANING])
def test_a_faulty_sibling_in_every_file_hides_nothing(files: dict[str, str], message: str) -> None:
    spoilt = {file: f"{text}\nunheard-of: 1\n" for file, text in files.items()}

    shown = faults_of(spoilt)

    # Each file's unknown field, and the fault that was there.
    assert len(shown) == len(files) + 1
    assert message in shown


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        # Each of these is what another file, or another field, relies on.
        (
            PROVIDER,
            "[small, large]",
            "[1, large]",
            "3: models[0] expected text, found the number 1; write it in quotes",
        ),
        (
            PROVIDER,
            "openai_chat:",
            "openai_chats:",
            '2: routes.openai_chats is not a field here; did you mean "openai_chat"?',
        ),
        (
            PROVIDER,
            "litellm_provider:",
            "litellm_provder:",
            '2: routes.openai_chat.litellm_provder is not a field here; did you mean "litellm_provider"?',
        ),
        (PROFILE, "settings:", "setings:", '7: setings is not a field here; did you mean "settings"?'),
        (PROFILE, '\n  retries: "1"', " [retries]", "7: settings expected fields with values, found a list"),
        (
            PROFILE,
            'retries: "1"',
            'retries: "1"\n  "\\0": x',
            "9: settings holds a character that cannot be stored",
        ),
        (
            PROFILE,
            "surface: openai_chat",
            "surface: bedrock",
            '1: surface expected one of openai_chat, openai_responses, anthropic_messages, gemini, found "bedrock"',
        ),
        (PROFILE, "surface:", "surface: [", "2: is not valid YAML: expected ',' or ']', but got ':'"),
        (PROVIDER, "[small, large]", "{a: b}", "3: models expected a list, found fields with values"),
        (
            TASK_CARD,
            "pattern: Hello",
            "patern: Hello",
            '4: checks[0].patern is not a field here; did you mean "pattern"?',
        ),
        (
            EXPERIMENT,
            "variants: [first]",
            "varaints: [first]",
            '1: varaints is not a field here; did you mean "variants"?',
        ),
        (EXPERIMENT, "baseline: first", "baseline: frist", '3: baseline "frist" is not defined; did you mean "first"?'),
    ],
)
def test_a_fault_causes_no_other(file: str, old: str, new: str, message: str) -> None:
    assert SMALL_PROJECT[file].count(old) == 1

    assert faults_of({**SMALL_PROJECT, file: SMALL_PROJECT[file].replace(old, new)}) == [f"{file}:{message}"]


def test_a_file_whose_name_is_taken_is_checked_too() -> None:
    again = {"configs/variants/second.yaml": "name: first\nprovider: min\nmodel: small\nharness_profile: client\n"}

    assert faults_of({**SMALL_PROJECT, **again}) == [
        'configs/variants/second.yaml:1: name "first" is already taken by configs/variants/first.yaml:1',
        'configs/variants/second.yaml:2: provider "min" is not defined; did you mean "mine"?',
    ]


def test_a_field_given_twice_leaves_the_others_checked() -> None:
    variant = "provider: mine\nmodel: smal\nharness_profile: clint\nprovider: mine\nenv: {A: b}\nenv: {}\n"

    assert faults_of({**SMALL_PROJECT, VARIANT: variant}) == [
        'configs/variants/first.yaml:3: harness_profile "clint" is not defined; did you mean "client"?',
        "configs/variants/first.yaml:4: provider is given twice; first on line 1",
        "configs/variants/first.yaml:6: env is given twice; first on line 5",
    ]
