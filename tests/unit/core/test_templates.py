from __future__ import annotations

import io
import subprocess

import pytest
from dotenv import dotenv_values
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agentdyno.core.errors import UserError
from agentdyno.core.templates import (
    COMMAND_NAMES,
    STAND_NAMES,
    dotenv,
    is_broken,
    names_in,
    render,
    render_command,
    render_values,
    shell_snippet,
)

VALUES = st.text(alphabet=st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=30)
ENVIRONMENTS = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True).map("X_{}".format), VALUES, max_size=3
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("${model}", "m"),
        ("openai/${model}@${url}", "openai/m@u"),
        ("$$", "$"),
        ("$${model}", "${model}"),
        ("$1 $model $(date) $", "$1 $model $(date) $"),
        ("{model} %s {{model}}", "{model} %s {{model}}"),
        ("", ""),
    ],
)
def test_only_names_in_braces_are_replaced(template: str, text: str) -> None:
    assert render(template, {"model": "m", "url": "u"}) == text


def test_a_value_is_no_template() -> None:
    assert render("${a}${b}", {"a": "${b}", "b": "$$"}) == "${b}$$"


def test_a_name_without_a_value_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r'template name "modl" is not defined; did you mean "model"'):
        render("${modl}", {"model": "m"})


def test_names_are_found_in_order() -> None:
    assert names_in("${b} $${c} ${a} $d") == ("b", "a")


@pytest.mark.parametrize(
    ("template", "broken"), [("${", True), ("${a b}", True), ("${a", True), ("${a}", False), ("$${", False)]
)
def test_a_brace_that_begins_no_name_is_noticed(template: str, broken: bool) -> None:
    assert is_broken(template) is broken


def test_each_template_of_a_command_stays_one_argument() -> None:
    assert render_command(("say", "--to=${who}"), {"who": "a b; rm -rf /"}) == ("say", "--to=a b; rm -rf /")


def test_files_are_rendered_by_path() -> None:
    assert render_values({"a/b.json": '"${model}"'}, {"model": "m"}) == {"a/b.json": '"m"'}


def test_the_key_is_no_name_of_commands() -> None:
    assert sorted(STAND_NAMES ^ COMMAND_NAMES) == ["gateway_url_with_key", "prompt", "session_key"]
    assert "prompt" in COMMAND_NAMES


def test_the_two_renderings_of_an_environment() -> None:
    env = {"URL": "http://127.0.0.1:1/v1", "WORDS": "it's $HOME", "EMPTY": ""}

    assert shell_snippet(env) == "export URL=http://127.0.0.1:1/v1\nexport WORDS='it'\"'\"'s $HOME'\nexport EMPTY=''\n"
    env["WORDS"] = "it's home"
    assert dotenv(env) == "URL=http://127.0.0.1:1/v1\nWORDS=\"it's home\"\nEMPTY=''\n"


@pytest.mark.parametrize("value", ["it's $(touch run)", "it's `run`", "it's \\", "it's \"", "a\\\\b", "end\\"])
def test_what_not_every_reader_of_an_env_file_reads_alike_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="the quotes or backslashes of WORDS fit no env file; have it printed"):
        dotenv({"WORDS": value})


@given(ENVIRONMENTS)
@settings(max_examples=60, deadline=None)
@example({"X_A": '$(echo run) `echo run` $HOME \\n "x"'})
@example({"X_A": "it's # home"})
def test_a_shell_and_a_dotenv_reader_read_what_was_written(env: dict[str, str]) -> None:
    try:
        text = dotenv(env)
    except UserError:
        assume(False)
    names = " ".join(f'"${name}"' for name in env)
    script = f"set -a\n{text}\nprintf '%s\\0' {names}"
    printed = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode()

    assert dict(dotenv_values(stream=io.StringIO(text), interpolate=False)) == env
    assert printed == ("\0".join([*env.values(), ""]) if env else "\0")


@given(ENVIRONMENTS)
@settings(max_examples=20, deadline=None)
def test_a_shell_reads_what_was_written(env: dict[str, str]) -> None:
    names = " ".join(f'"${name}"' for name in env)
    script = shell_snippet(env) + f"printf '%s\\0' {names}"
    printed = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode()

    assert printed == ("\0".join([*env.values(), ""]) if env else "\0")
