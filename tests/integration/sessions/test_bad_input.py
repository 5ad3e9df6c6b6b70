"""What people get wrong: one line that says what to do, an exit code, and no session."""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest
from tests.integration.ledgers import add_session
from tests.integration.sessions.client import create, rows
from tests.integration.stand_process import DYNO, Project, StandProcess

from agentdyno.store.ledger import Ledger

CREATE = ("session", "create", "--variant", "plain", "--task-card", "say-hello", "--repo", "repo")
START = ("session", "start", *CREATE[2:])


def instead(name: str, value: str, of: tuple[str, ...] = CREATE) -> tuple[str, ...]:
    """The same command with another value for one option."""
    place = of.index(name) + 1
    return (*of[:place], value, *of[place + 1 :])


WRONG = [
    (instead("--variant", "plian"), 'variant "plian" is not defined; did you mean "plain"?'),
    (instead("--task-card", "say-helo"), 'task card "say-helo" is not defined; did you mean "say-hello"?'),
    ((*CREATE, "--experiment", "trail"), 'experiment "trail" is not defined; did you mean "trial"?'),
    ((*CREATE, "--experiment", "trial"), 'task card "say-hello" is not in experiment trial; it has write-hello'),
    (
        (*instead("--variant", "held"), "--experiment", "trial"),
        'variant "held" is not in experiment trial; it has plain',
    ),
    (
        instead("--variant", "openai-mini-swe-agent"),
        "provider openai is not served: OPENAI_API_KEY was not set; set it in the environment of `dyno up`, and start "
        "the stand again",
    ),
    (instead("--repo", "/"), "/ is in no Git repository; name one with --repo PATH, or run `git init` there"),
    (instead("--repo", "nowhere"), "there is no folder nowhere; name a Git repository with --repo PATH"),
    (
        instead("--variant", "absent"),
        "no-such-harness is not installed; install it, or put its folder on PATH (profile absent)",
    ),
    (
        (*START, "--", "no-such-command"),
        "no-such-command is not installed; install it, or put its folder on PATH (profile openai-client)",
    ),
    (START, "harness profile openai-client has no headless command; name one: `… -- COMMAND`"),
    ((*CREATE, "--env-file", "dyno.yaml/env"), "dyno.yaml/env cannot be written: Not a directory; name another file"),
    ((*CREATE, "--env-file", "/dev/null"), "/dev/null is no regular file; name another file"),
    ((*CREATE, "--env-file", "."), ". is no regular file; name another file"),
    (
        (*CREATE, "--env-file", "dyno.yaml"),
        "dyno.yaml is there already, and is no env file of a session; name another file",
    ),
    ((*CREATE, "--env-file", "link.env"), "link.env is no regular file; name another file"),
    ((*CREATE, "--label", "\udcff"), r"'\udcff' is no text in the terminal's encoding; write it in UTF-8"),
    (("session", "show", "\udcff"), r"'\udcff' is no text in the terminal's encoding; write it in UTF-8"),
    (("session", "show", "ses_nothing"), 'there is no session "ses_nothing"; `dyno session list` shows all'),
    (
        ("session", "finalize", "nothing", "--outcome", "completed"),
        'there is no session "nothing"; `dyno session list` shows all',
    ),
    (("session", "env", "nothing"), "a session's key is shown once and kept nowhere; issue a new one: --rotate"),
]


def count(project: Project) -> int:
    """Rows of sessions that there are."""
    (row,) = rows(project.home / "ledger.sqlite", "SELECT count(*) AS sessions FROM session")
    return int(row["sessions"])


@pytest.fixture
def own(project: Project) -> Project:
    """The shared project, with a harness that is nowhere."""
    project.write("configs/harness_profiles/absent.yaml", "surface: openai_chat\nenv: {}\ncommand: [no-such-harness]\n")
    project.write("configs/variants/absent.yaml", "provider: scripted\nmodel: hello\nharness_profile: absent\n")
    if not (project.folder / "link.env").is_symlink():
        (project.folder / "link.env").symlink_to("target.env")
    return project


@pytest.mark.usefixtures("stand")
@pytest.mark.parametrize(("arguments", "line"), WRONG, ids=[line[:40] for _, line in WRONG])
def test_one_line_and_no_session(own: Project, arguments: tuple[str, ...], line: str) -> None:
    before = count(own)

    done = own.run(*arguments)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")
    assert count(own) == before


@pytest.mark.usefixtures("stand")
def test_a_session_that_is_nearly_named(own: Project) -> None:
    session_id = create(own)["session_id"]

    nearly = f"{session_id[:-1]}!"

    done = own.run("session", "show", nearly)

    assert (done.returncode, done.stderr) == (2, f'there is no session "{nearly}"; did you mean "{session_id}"?\n')


@pytest.mark.usefixtures("stand")
def test_a_session_that_is_over_gets_no_key(own: Project) -> None:
    session_id = create(own)["session_id"]
    own.dyno("session", "finalize", session_id, "--outcome", "completed")

    done = own.run("session", "env", session_id, "--rotate")

    assert (done.returncode, done.stderr) == (2, f"session {session_id} is over; create another\n")


@pytest.mark.usefixtures("stand")
def test_what_is_no_program_leaves_an_aborted_session(own: Project, work: Path) -> None:
    (work / "text").write_text("words\n")
    (work / "text").chmod(0o700)

    done = own.run(*instead("--repo", str(own.repo), START), "--", "./text", folder=work)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "./text cannot be run: Exec format error; is it a program?"
    last = rows(own.home / "ledger.sqlite", "SELECT phase, outcome FROM session ORDER BY session_id")[-1]
    assert last == {"phase": "finalized", "outcome": "aborted"}


@pytest.mark.usefixtures("stand")
def test_a_command_line_that_is_too_long(own: Project, work: Path) -> None:
    too_long = "x" * 200_000  # one argument may have 128 KiB
    own.write(
        "configs/harness_profiles/long.yaml",
        f"surface: openai_chat\nenv: {{}}\ncommand: [printf, '{too_long}']\n",
    )
    own.write("configs/variants/long.yaml", "provider: scripted\nmodel: hello\nharness_profile: long\n")

    done = own.run(*instead("--variant", "long", of=instead("--repo", str(own.repo), START)), folder=work)

    said = "printf cannot be run: Argument list too long; shorten the prompt, or the command"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)


@pytest.mark.usefixtures("stand")
def test_a_provider_that_was_changed_since_the_stand_came_up(own: Project) -> None:
    path = own.folder / "configs" / "providers" / "scripted.yaml"
    before, sessions = path.read_text(), count(own)
    path.write_text(f"{before}\ndescription: another\n" if "description:" not in before else _described(before))
    try:
        done = own.run(*CREATE)
    finally:
        path.write_text(before)

    said = "provider scripted was changed since the stand came up; `dyno down`, then `dyno up` again\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert count(own) == sessions


def _described(text: str) -> str:
    return re.sub(r"(?m)^description:.*$", "description: another", text)


@pytest.mark.usefixtures("stand")
def test_a_key_that_nobody_would_see_is_not_made(own: Project) -> None:
    before = count(own)

    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", str(DYNO), *CREATE],
        cwd=own.folder,
        env=own.environ(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    said = "standard output is closed, and a key is shown only once; use --env-file, or open it\n"
    assert (closed.returncode, closed.stderr) == (2, said)
    assert count(own) == before


def test_a_second_stand_says_where_the_first_is(own: Project, stand: StandProcess) -> None:
    done = own.run("up", "--port", "0")

    assert done.returncode == 2
    assert done.stderr == f"a stand is up already at {stand.url}; use it, or stop it with `dyno down`\n"


# ── without a stand ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose stand is not up."""
    return Project(tmp_path_factory.mktemp("idle"))


def test_the_stand_is_not_up(idle: Project) -> None:
    done = idle.run(*instead("--variant", "scripted-llm"))
    assert done.returncode == 2
    assert done.stderr == "the stand is not up in .dyno; start it with `dyno up` in another terminal\n"

    assert idle.run("down").returncode == 0
    status = idle.run("status")
    assert (status.returncode, status.stdout) == (1, "the stand is not up; `dyno up` starts it\n")


def test_every_fault_of_the_configuration_at_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("dyno.yaml", "gateway:\n  prot: 4141\n")
    project.write("configs/variants/broken.yaml", "provider: [\n")
    project.write("configs/variants/mine.yaml", "provider: scripted\nmodel: hello\nharness_profile: lm\n")

    for command in (("config", "validate"), CREATE, ("up", "--port", "0")):
        done = project.run(*command)
        assert done.returncode == 2
        broken, mine, settings = done.stderr.splitlines()
        assert broken.startswith("configs/variants/broken.yaml:2: is not valid YAML")
        assert mine == 'configs/variants/mine.yaml:3: harness_profile "lm" is not defined; did you mean "llm"?'
        assert settings == 'dyno.yaml:2: gateway.prot is not a field here; did you mean "port"?'


def test_a_port_that_is_taken(idle: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = idle.run("up", "--port", str(port))

    assert done.returncode == 2
    assert done.stderr == (
        f"port {port} on 127.0.0.1 is in use; stop what uses it, or choose another: `dyno up --port N`\n"
    )


def test_a_port_that_is_none(idle: Project) -> None:
    done = idle.run("up", "--port", "70000")

    assert done.returncode == 2
    assert "Invalid value for '--port'" in done.stderr


def test_a_ledger_that_is_newer_than_the_code(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.dyno("session", "list")
    with sqlite3.connect(project.home / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE agentdyno_schema SET version_num = '9999'")
    ledger.close()

    for command in (("session", "list"), ("up", "--port", "0")):
        done = project.run(*command)
        assert done.returncode == 2
        assert done.stderr == (
            "the ledger is at schema 9999, newer than this agentdyno knows (up to 0004); upgrade agentdyno, or name "
            "another ledger by DYNO_HOME or DYNO_DATABASE_URL\n"
        )


def test_a_ledger_that_is_none(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.home.mkdir()
    (project.home / "ledger.sqlite").write_text("this is no database, however long the text goes on\n" * 100)

    done = project.run("session", "list")

    assert done.returncode == 1
    assert re.fullmatch(
        r"the ledger \S+ cannot be used: file is not a database; it is damaged: put back a copy, .*\n", done.stderr
    )


def test_a_home_that_cannot_be_made(idle: Project) -> None:
    home = idle.folder / "dyno.yaml" / "home"

    done = idle.run("session", "list", DYNO_HOME=str(home))

    assert done.returncode == 2
    assert done.stderr == (f"{home} cannot be used as the stand's home: Not a directory; name another by DYNO_HOME\n")


def test_a_home_that_takes_no_lock(tmp_path: Path) -> None:
    project = Project(tmp_path)
    lock = project.home / "stand.lock"
    lock.mkdir(parents=True)

    done = project.run("up", "--port", "0")

    said = f"{lock} cannot be written: Is a directory; name another home by DYNO_HOME\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_folder_that_is_there_no_more(tmp_path: Path) -> None:
    gone = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", str(DYNO)]
    for command in (("session", "list"), ("config", "validate"), ("up",), ("demo",)):
        done = subprocess.run([*gone, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        said = "the current folder is there no more; change to one that is\n"
        assert (done.returncode, done.stderr) == (2, said)


def test_outside_of_a_project(idle: Project, tmp_path: Path) -> None:
    for command in (("session", "list"), ("up",), ("status",), CREATE):
        done = idle.run(*command, folder=tmp_path)
        assert (done.returncode, done.stderr) == (
            2,
            f"no dyno.yaml in {tmp_path} or above; `dyno init` writes one, with examples\n",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_named_holds_the_ledger(idle: Project, tmp_path: Path) -> None:
    home = tmp_path / "home"

    done = idle.run("session", "list", folder=tmp_path, DYNO_HOME=str(home))

    assert (done.returncode, done.stdout) == (0, "there is no session yet; `dyno session create` opens one\n")
    assert (home / "ledger.sqlite").exists()


def test_an_expired_session_is_closed_by_who_sees_it_next(idle: Project) -> None:
    idle.dyno("session", "list")
    ledger = Ledger.open(idle.home / "ledger.sqlite")
    add_session(ledger, phase="rendered", experiment="trial", created_at_us=1, expires_at_us=2)
    ledger.close()

    (listed,) = idle.json("session", "list")

    assert (listed["phase"], listed["outcome"], listed["notes"]) == (
        "finalized",
        "aborted",
        "its time-to-live ended",
    )
    assert idle.dyno("session", "list", "--open") == "no session is open\n"

    for command in (("session", "list", "--experiment", "trail"), ("compare", "trail")):
        done = idle.run(*command)
        assert done.returncode == 2
        assert done.stderr == 'experiment "trail" is not defined; did you mean "trial"?\n'


def test_a_stand_says_which_providers_in_use_it_cannot_serve(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for path in (project.folder / "configs").glob("*/*.yaml"):
        # Left are a provider in use that wants a secret, and one that nobody uses.
        if path.stem not in ("anthropic", "anthropic-claude-code", "claude-code", "openai"):
            path.unlink()
    with project.start("up", "--port", "0", ANTHROPIC_API_KEY="", OPENAI_API_KEY="") as starting:
        assert starting.stderr is not None
        said = [starting.stderr.readline() for _ in range(3)]
        starting.terminate()
        assert starting.wait(60) == 0

    assert said[0] == "starting the gateway\n"
    assert said[1] == "not served, for want of a secret: anthropic (ANTHROPIC_API_KEY)\n"
    assert said[2].startswith("the stand is up at ")
