"""Each kind of fault, in the words that a person reads."""

from __future__ import annotations

import pytest
from tests.unit.core.config.small_project import EXPERIMENT, PROFILE, PROVIDER, TASK_CARD, VARIANT, added, changed

from agentdyno.core.config import load
from agentdyno.core.errors import ConfigFaults

PRICES = ("input_usd_per_million", "output_usd_per_million")


def faults_of(files: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigFaults) as raised:
        load(files)
    return str(raised.value).split("\n")


YAML = [
    (
        changed(VARIANT, "model: small", "model: [small"),
        "configs/variants/first.yaml:3: is not valid YAML: expected ',' or ']', but got ':'",
    ),
    (
        changed(VARIANT, "model: small", "model: small\nmodel: large"),
        "configs/variants/first.yaml:3: model is given twice; first on line 2",
    ),
    (
        changed(VARIANT, "model: small", "model: &m small\ndescription: *m"),
        "configs/variants/first.yaml:3: uses an alias; write the value out",
    ),
    (
        changed(VARIANT, "model: small", "model: !!python/name:os.system small"),
        "configs/variants/first.yaml:2: model has a YAML tag; only plain values are allowed",
    ),
    (
        changed(VARIANT, "model: small", "? [a]\n: b\nmodel: small"),
        "configs/variants/first.yaml:2: has a key that is not plain text",
    ),
    (
        changed(VARIANT, "model: small", "model: small\n---\na: b"),
        "configs/variants/first.yaml:3: is not valid YAML: but found another document",
    ),
    (
        changed(VARIANT, "model: small", 'model: "\\0"'),
        "configs/variants/first.yaml:2: model holds a character that cannot be stored",
    ),
    (
        changed(VARIANT, "model: small", 'model: "\\UFFFFFFFF"'),
        "configs/variants/first.yaml: is not valid YAML: an escape names no character",
    ),
    (changed(VARIANT, "model: small", "model: \udcff"), "configs/variants/first.yaml:2: is not UTF-8 text"),
    (
        changed(VARIANT, "model: small", "model: \x07"),
        "configs/variants/first.yaml:2: holds a character that YAML does not allow: U+0007",
    ),
    (added("configs/variants/deep.yaml", "[" * 50), "configs/variants/deep.yaml:1: is nested too deeply"),
    (
        added("configs/variants/list.yaml", "- a"),
        "configs/variants/list.yaml:1: expected fields with values, found a list",
    ),
]

TYPES = [
    (
        changed(VARIANT, "provider: mine\n", ""),
        "configs/variants/first.yaml:1: provider is missing; expected text",
    ),
    (
        changed(VARIANT, "harness_profile: client", "harness_profile: client\nharnes_profile: client"),
        'configs/variants/first.yaml:4: harnes_profile is not a field here; did you mean "harness_profile"?',
    ),
    (
        changed(VARIANT, 'retries: "0"', "retries: 0"),
        "configs/variants/first.yaml:5: settings.retries expected text, found the number 0; write it in quotes",
    ),
    (
        changed(VARIANT, "model: small", "model: no"),
        "configs/variants/first.yaml:2: model expected text, found the truth value false; write it in quotes",
    ),
    (
        changed(PROVIDER, "[small, large]", "small"),
        'configs/providers/mine.yaml:3: models expected a list, found "small"',
    ),
    (
        changed(PROVIDER, "[small, large]", "[small, ]\nmanaged: loca"),
        'configs/providers/mine.yaml:4: managed expected one of local, scripted, found "loca"; did you mean "local"?',
    ),
    (
        changed(PROVIDER, "[small, large]", "[small, large]\nmetering: pass_through"),
        "configs/providers/mine.yaml:4: metering needs the provider's address; give it as base_url",
    ),
    (
        changed(PROVIDER, "openai_chat:", "openai_chats:"),
        'configs/providers/mine.yaml:2: routes.openai_chats is not a field here; did you mean "openai_chat"?',
    ),
    (
        changed(PROVIDER, "models:", "  bedrock: {litellm_provider: bedrock}\nmodels:"),
        'configs/providers/mine.yaml:3: routes.bedrock is not a field here; there is "anthropic_messages", '
        '"gemini", "openai_chat", "openai_responses"',
    ),
    (
        changed(PROFILE, "surface: openai_chat", "surface: bedrock"),
        "configs/harness_profiles/client.yaml:1: surface expected one of openai_chat, openai_responses, "
        'anthropic_messages, gemini, found "bedrock"',
    ),
    (
        changed(PROVIDER, "path: /v1", "pth: /v1"),
        'configs/providers/mine.yaml:2: routes.openai_chat.pth is not a field here; did you mean "path"?',
    ),
    (
        changed(TASK_CARD, "goal: a greeting", "goal: a greeting\ntimebox_s: 5m"),
        'configs/task_cards/hello.yaml:2: timebox_s expected a number, found "5m"',
    ),
    (
        changed(TASK_CARD, "goal: a greeting", "goal: a greeting\ntimebox_s: .inf"),
        "configs/task_cards/hello.yaml:2: timebox_s is not a number that can be stored",
    ),
    (
        changed(TASK_CARD, "value: false", "value: [1]"),
        "configs/task_cards/hello.yaml:5: checks[1].value expected text or a number or true or false, found a list",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "repeats: 1.5"),
        "configs/experiments/trial.yaml:3: repeats expected a whole number, found the number 1.5",
    ),
    (
        {**changed(VARIANT, "small", "large"), "dyno.yaml": "gateway:\n  prot: 1"},
        'dyno.yaml:2: gateway.prot is not a field here; did you mean "port"?',
    ),
]

NAMES = [
    (
        changed(VARIANT, "harness_profile: client", "harness_profile: clint"),
        'configs/variants/first.yaml:3: harness_profile "clint" is not defined; did you mean "client"?',
    ),
    (
        changed(VARIANT, "provider: mine", "provider: unlike"),
        'configs/variants/first.yaml:1: provider "unlike" is not defined; there is "mine"',
    ),
    (
        changed(EXPERIMENT, "task_cards: [hello]", "task_cards:\n  - hello\n  - helo"),
        'configs/experiments/trial.yaml:4: task_cards[1] "helo" is not defined; did you mean "hello"?',
    ),
    (
        added("configs/task_cards/again.yaml", "goal: g\nprompt: p\nname: hello\n"),
        'configs/task_cards/hello.yaml:1: name "hello" is already taken by configs/task_cards/again.yaml:3',
    ),
    (
        added("configs/task_cards/Hello.yaml", "goal: g\nprompt: p\n"),
        'configs/task_cards/Hello.yaml:1: name "Hello" is not a name; expected lower-case letters, digits, ".", "_" '
        'and "-", beginning with a letter or a digit',
    ),
    (
        added("configs/variant/x.yaml", ""),
        'configs/variant/x.yaml: lies in no folder of entities; did you mean "configs/variants"?',
    ),
    (
        added("configs/variants/more/x.yaml", ""),
        "configs/variants/more/x.yaml: is not where an entity's file belongs; expected configs/<kind>/<name>.yaml, "
        "where <kind> is one of experiments, harness_profiles, providers, task_cards, variants",
    ),
    (
        added("configs/variants/x.yml", ""),
        "configs/variants/x.yml: is not where an entity's file belongs; expected configs/<kind>/<name>.yaml, "
        "where <kind> is one of experiments, harness_profiles, providers, task_cards, variants",
    ),
]

MEANING = [
    (
        changed(VARIANT, "model: small", "model: smal"),
        'configs/variants/first.yaml:2: model "smal" is not a model of provider "mine"; did you mean "small"?',
    ),
    (
        changed(PROFILE, "surface: openai_chat", "surface: anthropic_messages"),
        'configs/variants/first.yaml:3: harness_profile "client" speaks anthropic_messages, which provider "mine" has '
        "no route for; it has openai_chat",
    ),
    (
        changed(VARIANT, "retries:", "retrys:"),
        'configs/variants/first.yaml:5: settings.retrys is not a setting of harness profile "client"; '
        'did you mean "retries"?',
    ),
    (
        changed(PROFILE, "${gateway_url}", "${gateway_uri}"),
        'configs/harness_profiles/client.yaml:5: files.client.json uses "gateway_uri", which is not defined; '
        'did you mean "gateway_url"?',
    ),
    (
        changed(PROFILE, "${session_key}", "${session_key"),
        "configs/harness_profiles/client.yaml:3: env.API_KEY has a ${ that begins no ${name}; "
        "a dollar sign itself is written $$",
    ),
    (
        changed(PROFILE, "${session_key}", "${prompt}"),
        'configs/harness_profiles/client.yaml:3: env.API_KEY uses "prompt", which is not defined; there is '
        '"files_dir", "gateway_url", "gateway_url_with_key", "model", "retries", "session_id", "session_key", '
        '"setup_dir", "small_model", "workspace"',
    ),
    (
        changed(PROFILE, '"${prompt}"', '"--key=${session_key}"'),
        "configs/harness_profiles/client.yaml:6: command[1] uses ${session_key}, which everyone could read in the "
        "process list; pass it by env or files",
    ),
    (
        changed(PROFILE, "  API_KEY:", "  API-KEY:"),
        "configs/harness_profiles/client.yaml:3: env.API-KEY is not the name of an environment variable",
    ),
    (
        changed(PROFILE, "  client.json:", "  ../client.json:"),
        "configs/harness_profiles/client.yaml:5: files.../client.json is not a path below ${files_dir}",
    ),
    (
        changed(PROFILE, 'retries: "1"', 'retries: "1"\n  model: "x"'),
        "configs/harness_profiles/client.yaml:9: settings.model is a name that the stand gives itself",
    ),
    (
        changed(PROFILE, 'retries: "1"', 'retries: "1"\n  Max-Tries: "x"'),
        "configs/harness_profiles/client.yaml:9: settings.Max-Tries is not a setting's name; expected lower-case "
        "letters, digits and _",
    ),
    (
        changed(PROVIDER, "MINE_API_KEY", "hunter2"),
        "configs/providers/mine.yaml:4: api_key_env is not the NAME of an environment variable, such as "
        "OPENAI_API_KEY; the value is not shown, for it may be a secret",
    ),
    (
        changed(PROVIDER, "large]", "large, 'of course']"),
        'configs/providers/mine.yaml:3: models[2] "of course" can be no part of a path; expected no blanks, ?, # or ..',
    ),
    (
        changed(PROVIDER, "large]", "large, a/../b]"),
        'configs/providers/mine.yaml:3: models[2] "a/../b" can be no part of a path; expected no blanks, ?, # or ..',
    ),
    (
        changed(PROVIDER, "models:", "base_url: localhost:8000\nmodels:"),
        "configs/providers/mine.yaml:3: base_url is not an address; expected http://… or https://…, "
        "without credentials",
    ),
    (
        changed(PROVIDER, "models:", "managed: local\nbase_url: http://localhost:8000\nmodels:"),
        "configs/providers/mine.yaml:4: base_url is not used: the stand itself starts the provider (local)",
    ),
    (
        changed(PROVIDER, "api_key_env: MINE_API_KEY", "deployment_key_env: LITELLM_KEY"),
        "configs/providers/mine.yaml:4: deployment_key_env needs the deployment's address; give it as base_url",
    ),
    (
        changed(PROVIDER, "api_key_env: MINE_API_KEY", "deployment_key_env: LITELLM_KEY\nmanaged: local"),
        "configs/providers/mine.yaml:4: deployment_key_env is not used: the stand itself starts the provider (local)",
    ),
    (
        changed(PROVIDER, "api_key_env: MINE_API_KEY", "deployment_key_env: litellm-key\nbase_url: http://team"),
        "configs/providers/mine.yaml:4: deployment_key_env is not the NAME of an environment variable, such as "
        "LITELLM_ADMIN_KEY; the value is not shown, for it may be a secret",
    ),
    (
        changed(PROVIDER, "models:", "deployment_key_env: LITELLM_KEY\nbase_url: http://team\nmodels:"),
        "configs/providers/mine.yaml:6: api_key_env is not used: the deployment at base_url has its own way to its "
        "models",
    ),
    (
        {"dyno.yaml": "deployment: {logs_quiet_s: -1}\n"},
        "dyno.yaml:1: deployment.logs_quiet_s is -1; expected 0 seconds or more",
    ),
    *(
        (
            changed(PROVIDER, "path: /v1", f"path: {path}"),
            f'configs/providers/mine.yaml:2: routes.openai_chat.path is "{path}"; expected a slash in front and none '
            "at the end, such as /v1",
        )
        for path in ("v1", "/v1/", "/", "//v1", "/v 1")
    ),
    (
        changed(PROVIDER, "models:", "options: {vertex_project: os.environ/}\nmodels:"),
        "configs/providers/mine.yaml:3: options.vertex_project names no environment variable after os.environ/",
    ),
    (
        changed(PROVIDER, "models:", f"prices: {{small: {{{PRICES[0]}: -1, {PRICES[1]}: 0}}}}\nmodels:"),
        "configs/providers/mine.yaml:3: prices.small.input_usd_per_million is -1; expected 0 or more USD",
    ),
    (
        changed(PROVIDER, "models:", f"prices: {{smal: {{{PRICES[0]}: 1, {PRICES[1]}: 1}}}}\nmodels:"),
        'configs/providers/mine.yaml:3: prices.smal is none of the provider\'s models; did you mean "small"?',
    ),
    (
        changed(TASK_CARD, "pattern: Hello", "pattern: '('"),
        "configs/task_cards/hello.yaml:4: checks[0].pattern is not a regular expression: missing ), unterminated "
        "subpattern at position 0",
    ),
    (
        changed(TASK_CARD, ", pattern: Hello", ""),
        "configs/task_cards/hello.yaml:4: checks[0].pattern is missing; a file_matches check needs it",
    ),
    (
        changed(TASK_CARD, "value: false", "value: null"),
        "configs/task_cards/hello.yaml:5: checks[1].value is missing; a json_equals check needs it",
    ),
    (
        changed(TASK_CARD, "file_matches", "file_exists"),
        "configs/task_cards/hello.yaml:4: checks[0].pattern is not used by a file_exists check",
    ),
    (
        changed(TASK_CARD, "file: answer.txt", "file: /etc/passwd"),
        "configs/task_cards/hello.yaml:4: checks[0].file is not a path inside the session's working folder",
    ),
    (
        changed(TASK_CARD, "goal: a greeting", "goal: a greeting\ntimebox_s: 0"),
        "configs/task_cards/hello.yaml:2: timebox_s is 0; expected more than 0 seconds",
    ),
    (
        changed(EXPERIMENT, "variants: [first]", "variants: [first, first]"),
        'configs/experiments/trial.yaml:1: variants[1] "first" is listed twice',
    ),
    (
        changed(EXPERIMENT, "task_cards: [hello]", "task_cards: []"),
        "configs/experiments/trial.yaml:2: task_cards is empty; expected at least one name",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "repeats: 0"),
        "configs/experiments/trial.yaml:3: repeats is 0; expected at least 1",
    ),
    (
        changed(TASK_CARD, "checks:", "checks:\n  - {kind: command}"),
        "configs/task_cards/hello.yaml:4: checks[0].command is missing; a command check needs it",
    ),
    (
        changed(TASK_CARD, "checks:", "checks:\n  - {kind: diff}"),
        "configs/task_cards/hello.yaml:4: checks[0] limits nothing; a diff check needs one of max_files, max_lines, "
        "only",
    ),
    (
        changed(TASK_CARD, "checks:", "checks:\n  - {kind: tool_used, at_least: 0}"),
        "configs/task_cards/hello.yaml:4: checks[0].at_least is 0; expected at least 1",
    ),
    (
        changed(TASK_CARD, "checks:", "checks:\n  - {kind: tests_pass, command: [make], timeout_s: 0}"),
        "configs/task_cards/hello.yaml:4: checks[0].timeout_s is 0; expected more than 0 seconds",
    ),
    (
        changed(TASK_CARD, "checks:", "commit: main\nchecks:"),
        "configs/task_cards/hello.yaml:3: commit is of no repository; name it as repository",
    ),
    (
        changed(TASK_CARD, "checks:", "check_files: {../a: b}\nchecks:"),
        "configs/task_cards/hello.yaml:3: check_files.../a is not a path below the working folder",
    ),
    (
        changed(VARIANT, "settings:", "home_files: {/a: b}\nsettings:"),
        "configs/variants/first.yaml:4: home_files./a is not a path below the folder that it is laid into",
    ),
    (
        changed(VARIANT, "settings:", "workspace_files: {a: '${model'}\nsettings:"),
        "configs/variants/first.yaml:4: workspace_files.a has a ${ that begins no ${name}; a dollar sign itself is "
        "written $$",
    ),
    (
        changed(VARIANT, "settings:", "setup: [{command: []}]\nsettings:"),
        "configs/variants/first.yaml:4: setup[0].command is empty; expected a command",
    ),
    (
        changed(VARIANT, "settings:", "setup: [{command: [make, '${session_key}']}]\nsettings:"),
        'configs/variants/first.yaml:4: setup[0].command[1] uses "session_key", which is not defined; there is '
        '"model", "retries", "setup_dir", "small_model"',
    ),
    (
        changed(VARIANT, "settings:", "setup: [{command: [make], timeout_s: 0}]\nsettings:"),
        "configs/variants/first.yaml:4: setup[0].timeout_s is 0; expected more than 0 seconds",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "shared_model: large"),
        'configs/experiments/trial.yaml:1: variants[0] "first" uses the model "small", not the shared one, "large"',
    ),
    (
        changed(EXPERIMENT, "baseline: first", "aa_arm: true"),
        "configs/experiments/trial.yaml:3: aa_arm repeats the baseline; name one as baseline",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "ablate_parts: [env/A]"),
        "configs/experiments/trial.yaml:3: ablate_parts are parts of no variant; name it as ablate",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "max_attempts: 0"),
        "configs/experiments/trial.yaml:3: max_attempts is 0; expected at least 1",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "limits: {processes: 0}"),
        "configs/experiments/trial.yaml:3: limits.processes is 0; expected more than 0",
    ),
    (
        changed(EXPERIMENT, "baseline: first", "limits: {memory_bytes: 1, guaranteed_memory_bytes: 2}"),
        "configs/experiments/trial.yaml:3: limits.guaranteed_memory_bytes is 2, more than memory_bytes, 1",
    ),
    (
        {**changed(VARIANT, "small", "large"), "dyno.yaml": "cells: {timebox_s: 0}"},
        "dyno.yaml:1: cells.timebox_s is 0; expected more than 0 seconds",
    ),
    (
        {**changed(VARIANT, "small", "large"), "dyno.yaml": "cells: {readable: [opt]}"},
        "dyno.yaml:1: cells.readable[0] is not an absolute path",
    ),
    (
        {**changed(VARIANT, "small", "large"), "dyno.yaml": "cells: {environ: [A=b]}"},
        "dyno.yaml:1: cells.environ[0] is not the NAME of an environment variable",
    ),
    (
        {**changed(VARIANT, "small", "large"), "dyno.yaml": "gateway: {port: 70000}"},
        "dyno.yaml:1: gateway.port is 70000; expected 0 to 65535",
    ),
    (
        {**changed(VARIANT, "small", "large"), "dyno.yaml": "session:\n  time_to_live_s: -1"},
        "dyno.yaml:2: session.time_to_live_s is -1; expected more than 0 seconds",
    ),
]


@pytest.mark.parametrize(
    ("files", "message"), YAML + TYPES + NAMES + MEANING, ids=lambda case: case[:60] if isinstance(case, str) else ""
)
def test_a_fault_says_where_what_and_what_instead(files: dict[str, str], message: str) -> None:
    assert faults_of(files) == [message]
