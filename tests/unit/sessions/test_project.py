from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from agentdyno.core.config import load
from agentdyno.core.errors import ConfigFaults, UserError
from agentdyno.core.templates import COMMAND_NAMES, STAND_NAMES, render_command, render_values
from agentdyno.providers.script_files import BUILT_IN, load_scripts
from agentdyno.sessions.project import find_project, home_of, load_project, profile_text, scaffold


def test_what_init_writes_is_valid(tmp_path: Path) -> None:
    done = scaffold(tmp_path)

    config = load_project(tmp_path)

    assert done.kept == []
    assert Path("dyno.yaml") in done.written
    assert {
        "local",
        "scripted",
        "openai",
        "anthropic",
        "openrouter",
        "fireworks",
        "gemini",
        "huggingface",
        "vertex",
        "vllm",
    } == set(config.providers)
    assert {"smoke", "free-text-or-schema", "tool-call", "harness-overhead", "config-arms"} == set(config.experiments)
    assert load({}).settings == config.settings, "the written dyno.yaml shows the defaults"


def test_init_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "dyno.yaml").write_text("gateway: {port: 5000}\n")

    first, second = scaffold(tmp_path), scaffold(tmp_path)

    assert first.kept == [Path("dyno.yaml")]
    assert (tmp_path / "dyno.yaml").read_text() == "gateway: {port: 5000}\n"
    assert (second.written, sorted(second.kept)) == ([], sorted([*first.written, *first.kept]))


def test_every_variant_that_init_writes_can_be_rendered(tmp_path: Path) -> None:
    scaffold(tmp_path)
    config = load_project(tmp_path)
    given = {name: f"<{name}>" for name in STAND_NAMES | COMMAND_NAMES}

    for variant in config.variants.values():
        profile = config.harness_profile(variant.harness_profile)
        values = {**given, **profile.settings, **variant.settings}
        env = render_values({**profile.env, **variant.env}, values)
        files = render_values(profile.files, values)
        command = render_command(profile.command, values)

        assert any("<session_key>" in text for text in (*env.values(), *files.values())), "no key, no traffic"
        assert any("<gateway_url>" in text for text in (*env.values(), *files.values()))
        assert any("<prompt>" in argument for argument in command)
        assert not any("<session_key>" in argument for argument in command)


def test_the_scripted_provider_offers_every_script_that_ships(tmp_path: Path) -> None:
    scaffold(tmp_path)

    assert sorted(load_project(tmp_path).provider("scripted").models) == sorted(load_scripts([BUILT_IN]))


def test_a_project_is_found_from_below(tmp_path: Path) -> None:
    (tmp_path / "dyno.yaml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert find_project(below) == tmp_path.resolve()


def test_no_project_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dyno\.yaml in .* or above; `dyno init` writes one"):
        find_project(tmp_path)


def test_files_of_any_yaml_suffix_and_depth_are_seen(tmp_path: Path) -> None:
    (tmp_path / "dyno.yaml").touch()
    for file in ("variants/a.yml", "variants/deep/b.yaml", "variants/notes.txt"):
        path = tmp_path / "configs" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    with pytest.raises(ConfigFaults) as raised:
        load_project(tmp_path)

    assert [fault.file for fault in raised.value.faults] == ["configs/variants/a.yml", "configs/variants/deep/b.yaml"]


def test_a_file_that_is_no_text_is_a_fault_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dyno.yaml").write_bytes(b"gateway:\n  host: \xff\n")

    with pytest.raises(ConfigFaults, match=r"dyno\.yaml:2: is not UTF-8 text"):
        load_project(tmp_path)


def test_the_home_lies_beside_the_settings_and_hides_from_git(tmp_path: Path) -> None:
    (tmp_path / "dyno.yaml").touch()
    (tmp_path / "below").mkdir()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    home = home_of(tmp_path / "below", {})
    (home / "ledger.sqlite").touch()
    status = subprocess.run(
        ["git", "-C", tmp_path, "status", "--porcelain"], capture_output=True, text=True, check=True
    )

    assert home == tmp_path.resolve() / ".dyno"
    assert status.stdout == "?? dyno.yaml\n"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_the_home_may_be_named(tmp_path: Path) -> None:
    named = tmp_path / "deep" / "home"

    assert home_of(tmp_path, {"DYNO_HOME": str(named)}) == named
    assert (named / ".gitignore").read_text() == "*\n"


def test_a_home_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(
        UserError, match="cannot be used as the stand's home: Not a directory; name another by DYNO_HOME"
    ):
        home_of(tmp_path, {"DYNO_HOME": str(tmp_path / "file" / "home")})


def test_a_profile_is_found_by_its_name_whatever_its_file_is_called(tmp_path: Path) -> None:
    profiles = tmp_path / "configs" / "harness_profiles"
    profiles.mkdir(parents=True)
    (tmp_path / "dyno.yaml").touch()
    built_in = profile_text(tmp_path, "claude-code")
    (profiles / "claude-code.yaml").write_text("name: another\n")
    (profiles / "aider.yaml").write_text("name: pi\n")
    assert profile_text(tmp_path, "claude-code") == built_in
    assert profile_text(tmp_path, "another") == "name: another\n"
    assert profile_text(tmp_path, "pi") == "name: pi\n"
