"""`dyno doctor`: what is missing, and how to mend it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.stand_process import Project, StandProcess

from agentdyno.sessions.doctor import examine
from agentdyno.stand.installation import Finding, State, local_model_finding, proxy_findings

NOW_S = time.time()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project on a free port with one variant, whose harness is a program of the test's own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = {
        "dyno.yaml": f"gateway: {{port: {port}}}\n",
        "configs/providers/scripted.yaml": "managed: scripted\nroutes: {openai_chat: {litellm_provider: openai}}\n"
        "models: [hello]\n",
        "configs/harness_profiles/tool.yaml": "surface: openai_chat\nenv: {}\ncommand: [sh, -c, tool]\n"
        "version_command: [tool, --version]\ninstall: get tool\n",
        "configs/variants/plain.yaml": "provider: scripted\nmodel: hello\nharness_profile: tool\n",
    }
    for name, text in files.items():
        write(tmp_path / name, text)
    program = tmp_path / "bin/tool"
    write(program, "#!/bin/sh\necho tool 7\n")
    program.chmod(0o700)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def environ(folder: Path, **extra: str) -> dict[str, str]:
    git = Path(shutil.which("git") or "").parent
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{git}", **extra}


def found(folder: Path, name: str, now_s: float = NOW_S, **extra: str) -> Finding:
    """The one finding of that name."""
    (finding,) = [item for item in examine(folder, environ(folder, **extra), now_s) if item.name == name]
    return finding


def test_a_project_that_is_ready(folder: Path) -> None:
    findings = list(examine(folder, environ(folder), NOW_S))

    assert [(item.name, item.state) for item in findings if item.state != "ok"] == []
    assert [item.name for item in findings] == [
        *("python", "litellm", "git", "sandbox", "repository", "clock", "home", "ledger", "project", "gateway"),
        *("provider scripted", "harness tool"),
    ]
    assert found(folder, "harness tool").found == f"{folder / 'bin/tool'}, tool 7"
    assert not (folder / ".dyno").exists(), "looking changes nothing"


def test_outside_of_a_project(tmp_path: Path) -> None:
    finding = found(tmp_path, "project")

    assert finding == Finding(
        "project", "fault", f"no dyno.yaml in {tmp_path} or above", "`dyno init` writes one, with examples"
    )


def test_a_configuration_with_faults(folder: Path) -> None:
    write(folder / "configs/variants/other.yaml", "provider: nobody\nmodel: hello\nharness_profile: nothing\n")

    assert found(folder, "project") == Finding(
        "project", "fault", f"{folder}, faults: 2", "`dyno config validate` shows all"
    )


def test_a_project_without_variants(folder: Path) -> None:
    (folder / "configs/variants/plain.yaml").unlink()

    assert found(folder, "project").state == "warning"


def test_a_harness_that_is_not_installed(folder: Path) -> None:
    (folder / "bin/tool").unlink()

    assert found(folder, "harness tool") == Finding(
        "harness tool", "warning", "tool is not on the PATH; used by plain", "get tool"
    )


def test_a_harness_that_takes_for_ever_to_tell_its_version(folder: Path) -> None:
    (folder / "bin/tool").write_text("#!/bin/sh\nexec sleep 1000\n")

    # The folder of `sleep` is that of any shell.
    variables = environ(folder, PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (finding,) = [item for item in examine(folder, variables, NOW_S, 0.2) if item.name == "harness tool"]

    assert finding == Finding(
        "harness tool",
        "warning",
        f"{folder / 'bin/tool'} told no version in 0.2 s; used by plain",
        "see what `tool --version` says",
    )


def test_a_harness_that_is_broken(folder: Path) -> None:
    (folder / "bin/tool").write_text("#!/bin/sh\nexit 127\n")

    assert found(folder, "harness tool").state == "warning"


def test_a_harness_that_nobody_asks_for_its_version(folder: Path) -> None:
    write(folder / "configs/harness_profiles/tool.yaml", "surface: openai_chat\nenv: {}\ncommand: [tool]\n")

    assert found(folder, "harness tool") == Finding("harness tool", "ok", f"{folder / 'bin/tool'}, version unknown")


def test_where_cells_have_no_walls(folder: Path) -> None:
    assert found(folder, "sandbox").state == "ok"

    missing = found(folder, "sandbox", PATH=str(folder / "bin"))
    assert (missing.state, missing.found) == ("warning", "process, which has no walls: bwrap is not on the PATH")
    write(folder / "bin/bwrap", "#!/bin/sh\necho 'bwrap: not permitted' >&2; exit 1\n")
    (folder / "bin/bwrap").chmod(0o700)
    refused = found(folder, "sandbox", PATH=f"{folder / 'bin'}")
    assert refused.found == "process, which has no walls: bwrap: not permitted"


def test_outside_of_a_repository(folder: Path) -> None:
    shutil.rmtree(folder / ".git")

    assert found(folder, "repository") == Finding(
        "repository",
        "warning",
        f"{folder} is in no Git repository",
        "name one with --repo PATH, or run `git init` there",
    )


def test_git_is_missing(folder: Path) -> None:
    finding = found(folder, "git", PATH=str(folder / "bin"))

    assert (finding.state, finding.found) == ("fault", "not on the PATH")


def test_a_secret_that_is_not_set(folder: Path) -> None:
    write(
        folder / "configs/providers/far.yaml",
        "api_key_env: FAR_KEY\nroutes: {openai_chat: {litellm_provider: openai}}\nmodels: [m]\n",
    )
    assert "provider far" not in {item.name for item in examine(folder, environ(folder), NOW_S)}, "nobody uses it"

    write(folder / "configs/variants/far.yaml", "provider: far\nmodel: m\nharness_profile: tool\n")

    assert found(folder, "provider far") == Finding(
        "provider far", "warning", "FAR_KEY not set; used by far", "set it in the environment of `dyno up`"
    )
    assert found(folder, "provider far", FAR_KEY="something") == Finding("provider far", "ok", "FAR_KEY set")


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(folder / "dyno.yaml", f"gateway: {{port: {port}}}\n")
        finding = found(folder, "gateway")

    assert finding == Finding(
        "gateway",
        "fault",
        f"port {port} on 127.0.0.1 is in use",
        "stop what uses it, or choose another: `dyno up --port N`",
    )


def test_a_home_that_cannot_be(folder: Path) -> None:
    finding = found(folder, "home", DYNO_HOME=str(folder / "dyno.yaml/home"))

    assert finding.state == "fault"
    assert finding.found == f"{folder / 'dyno.yaml/home'}: {folder / 'dyno.yaml'} is no folder"


def test_a_home_that_others_may_read(folder: Path) -> None:
    home = folder / ".dyno"
    home.mkdir(mode=0o755)
    home.chmod(0o755)

    finding = found(folder, "home")
    assert (finding.state, finding.mend) == ("warning", f"chmod go= {home}")

    home.chmod(0o700)
    assert found(folder, "home").state == "ok"


@pytest.fixture
def ledger(folder: Path) -> Iterator[sqlite3.Connection]:
    """A ledger that says only what its schema is."""
    (folder / ".dyno").mkdir(mode=0o700)
    connection = sqlite3.connect(folder / ".dyno/ledger.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE agentdyno_schema (version_num TEXT)")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("revision", "state", "said"), [("0001", "ok", "at schema 0001, brought to"), ("9999", "fault", "newer than")]
)
def test_the_schema_of_the_ledger(
    folder: Path, ledger: sqlite3.Connection, revision: str, state: State, said: str
) -> None:
    ledger.execute("INSERT INTO agentdyno_schema VALUES (?)", (revision,))

    finding = found(folder, "ledger")

    assert finding.state == state
    assert said in finding.found
    assert ledger.execute("SELECT version_num FROM agentdyno_schema").fetchall() == [(revision,)]


def test_a_ledger_that_is_none(folder: Path) -> None:
    write(folder / ".dyno/ledger.sqlite", "no database, however long the text goes on\n" * 100)

    finding = found(folder, "ledger")
    assert finding.state == "fault"
    assert "file is not a database" in finding.found


def test_a_shared_ledger_that_is_away(folder: Path) -> None:
    finding = found(folder, "ledger", DYNO_DATABASE_URL="postgresql://me:secret@127.0.0.1:9/none")

    assert finding.state == "fault"
    assert "postgresql://me@127.0.0.1:9/none" in finding.found
    assert "secret" not in str(finding)
    assert found(folder, "ledger", DYNO_DATABASE_URL="nonsense").state == "fault"


def test_a_clock_that_is_behind(folder: Path) -> None:
    assert found(folder, "clock", now_s=0).state == "fault"


@pytest.mark.parametrize(
    ("variables", "states"),
    [
        ({}, []),
        ({"HTTPS_PROXY": "http://proxy:1"}, []),  # the gateway is plain HTTP
        ({"http_proxy": "http://proxy:1"}, ["warning"]),
        ({"ALL_PROXY": "http://proxy:1", "NO_PROXY": "example.org, 127.0.0.1"}, ["ok"]),
        ({"HTTP_PROXY": "http://proxy:1", "no_proxy": "*"}, ["ok"]),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "0.0.1"}, ["ok"]),  # a suffix, as programs read it
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "27.0.0.1"}, ["warning"]),
    ],
)
def test_a_proxy_that_would_be_asked_for_the_gateway(variables: dict[str, str], states: list[State]) -> None:
    assert [finding.state for finding in proxy_findings(variables, "127.0.0.1")] == states


def test_the_local_model_is_looked_for_where_a_variant_uses_it(folder: Path) -> None:
    provider = "managed: local\nroutes: {openai_chat: {litellm_provider: openai}}\nmodels: [smollm2-135m]\n"
    write(folder / "configs/providers/local.yaml", provider)
    write(folder / "configs/variants/local.yaml", "provider: local\nmodel: smollm2-135m\nharness_profile: tool\n")

    assert found(folder, "local model") == local_model_finding() == Finding("local model", "ok", "installed")


def test_a_stand_that_is_up(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for path in (project.folder / "configs").glob("*/*.yaml"):
        # Left are a variant that can be served, and one whose provider wants a secret.
        if path.stem not in ("anthropic", "anthropic-claude-code", "scripted", "scripted-llm", "say-hello"):
            path.unlink()
    with StandProcess(project, ANTHROPIC_API_KEY="") as stand:
        up = f"the stand is up at {stand.url}, process {stand.process.pid}"
        assert found(project.folder, "gateway") == Finding("gateway", "ok", up)
        assert found(project.folder, "provider scripted").state == "ok"
        unset = found(project.folder, "provider anthropic", ANTHROPIC_API_KEY="set since")
        provider = project.folder / "configs/providers/scripted.yaml"
        provider.write_text(f"{provider.read_text()}\ndescription: another\n".replace("description:", "#", 1))
        changed = found(project.folder, "provider scripted")

    assert unset.found.startswith("not served: ANTHROPIC_API_KEY was not set when the stand came up; ")
    assert (changed.state, changed.mend) == ("warning", "`dyno down`, then `dyno up`")


def test_exit_codes_and_forms(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    project = Project(tmp_path_factory.mktemp("fresh"))
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    well = project.run("doctor", folder=folder, PATH=path)
    assert (well.returncode, well.stdout.splitlines()[-1]) == (0, "all is well")

    (folder / "bin/tool").unlink()
    document = json.loads(project.run("doctor", "--json", folder=folder, PATH=path).stdout)
    assert (document["faults"], document["warnings"]) == (0, 1)

    (folder / "dyno.yaml").unlink()
    ill = project.run("doctor", folder=folder, PATH=path)
    assert (ill.returncode, ill.stdout.splitlines()[-1]) == (1, "1 fault, 0 warnings")
    assert "→ `dyno init` writes one, with examples" in ill.stdout
