"""Entities that people write in YAML, and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from agentdyno.core.fields import Field

Surface = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini"]
"""A wire protocol that a harness speaks to the gateway."""
ManagedBy = Literal["local", "scripted"]
"""A provider that the stand starts itself."""
Metering = Literal["transport", "pass_through"]
"""Where a provider's bytes are read: inside LiteLLM's HTTP client, or on a detour over loopback."""
CheckKind = Literal["file_exists", "file_matches", "json_equals", "command", "tests_pass", "diff", "tool_used"]


@dataclass(frozen=True)
class Route:
    """How LiteLLM reaches a provider for one surface."""

    litellm_provider: Annotated[str, Field("LiteLLM's provider prefix, e.g. openai or anthropic")]
    path: Annotated[str, Field("what follows the provider's base_url, e.g. /v1")] = ""


@dataclass(frozen=True)
class Check:
    """One test of a session's result."""

    kind: Annotated[
        CheckKind,
        Field(
            "what is tested: a file, its text, a JSON value, a command, tests, what was changed, tools that were used"
        ),
    ]
    file: Annotated[
        str | None, Field("path relative to the working folder; of the JUnit report of tests_pass, if it writes one")
    ] = None
    pattern: Annotated[str | None, Field("regular expression that the text must match (file_matches)")] = None
    path: Annotated[str | None, Field("dotted path into the JSON document (json_equals)")] = None
    value: Annotated[str | int | float | bool | None, Field("the value that must be found there (json_equals)")] = None
    command: Annotated[tuple[str, ...], Field("command that is run in the working folder (command, tests_pass)")] = ()
    exit_code: Annotated[int | None, Field("exit code that it must end with; 0 when absent (command)")] = None
    timeout_s: Annotated[
        float | None, Field("time that it may take; it fails then (command, tests_pass)", unit="s")
    ] = None
    at_least: Annotated[int | None, Field("tests that must have passed, or calls of the tool; 1 when absent")] = None
    tool: Annotated[str | None, Field("tool that must have been called, by its trace; any when absent (tool_used)")] = (
        None
    )
    max_files: Annotated[int | None, Field("files that may be added, changed or removed at most (diff)")] = None
    max_lines: Annotated[int | None, Field("lines that may be added and removed at most (diff)")] = None
    only: Annotated[tuple[str, ...], Field("patterns of the paths that may be touched, such as src/** (diff)")] = ()


@dataclass(frozen=True)
class ModelPrice:
    """What a model's tokens cost at a provider."""

    input_usd_per_million: Annotated[float, Field("a million prompt tokens that no cache had", unit="usd")]
    output_usd_per_million: Annotated[float, Field("a million generated tokens", unit="usd")]
    cache_read_usd_per_million: Annotated[
        float | None, Field("a million tokens read from the cache; unknown when absent", unit="usd")
    ] = None
    cache_write_usd_per_million: Annotated[
        float | None, Field("a million tokens written to the cache; unknown when absent", unit="usd")
    ] = None
    cache_write_1h_usd_per_million: Annotated[
        float | None, Field("a million tokens written to stay an hour; as cache_write when absent", unit="usd")
    ] = None
    reasoning_usd_per_million: Annotated[
        float | None, Field("a million tokens of reasoning; as output when absent", unit="usd")
    ] = None


@dataclass(frozen=True)
class Provider:
    """An upstream inference provider: its routes, its secret's name, its models."""

    name: Annotated[str, Field("name, unique among providers", index=True)]
    routes: Annotated[Mapping[Surface, Route], Field("LiteLLM route for each surface that a harness may use")]
    models: Annotated[tuple[str, ...], Field("the provider's own model ids that variants may name")]
    description: Annotated[str, Field("one line for people")] = ""
    base_url: Annotated[str | None, Field("address of the provider; LiteLLM's default when absent")] = None
    api_key_env: Annotated[str | None, Field("NAME of the environment variable that holds the secret")] = None
    managed: Annotated[ManagedBy | None, Field("started by the stand itself: local or scripted")] = None
    options: Annotated[Mapping[str, str], Field("further LiteLLM parameters, e.g. vertex_project")] = field(
        default_factory=dict
    )
    prices: Annotated[Mapping[str, ModelPrice], Field("prices by model, in the place of those in LiteLLM's table")] = (
        field(default_factory=dict)
    )
    metering: Annotated[
        Metering, Field("where its bytes are read: pass_through where its path goes round LiteLLM's HTTP client")
    ] = "transport"
    deployment_key_env: Annotated[
        str | None,
        Field(
            "NAME of the variable with the admin key of a LiteLLM deployment at base_url, which issues the keys itself"
        ),
    ] = None


@dataclass(frozen=True)
class SideCall:
    """How one kind of a harness's side calls is told from its work: all that is given must hold of the request."""

    purpose: Annotated[Literal["title", "summary", "probe"], Field("what such a request is for")]
    offers_tools: Annotated[bool | None, Field("whether it offers the model any tool")] = None
    small_model: Annotated[bool | None, Field("whether it asks for the variant's small model")] = None
    at_most_output_tokens: Annotated[
        int | None, Field("it limits its answer to so many tokens, or to fewer", unit="tokens")
    ] = None


@dataclass(frozen=True)
class HarnessProfile:
    """How a harness is pointed at the gateway, and how it is launched headless. Templates use `${name}`."""

    name: Annotated[str, Field("name, unique among harness profiles", index=True)]
    surface: Annotated[Surface, Field("the wire protocol that the harness speaks")]
    env: Annotated[Mapping[str, str], Field("environment variables, templates")]
    description: Annotated[str, Field("one line for people")] = ""
    network_guards: Annotated[
        Mapping[str, str], Field("further variables, templates: they end what it does on the network beside its model")
    ] = field(default_factory=dict)
    files: Annotated[Mapping[str, str], Field("configuration files to render below ${files_dir}: path to template")] = (
        field(default_factory=dict)
    )
    command: Annotated[tuple[str, ...], Field("headless command, templates; ${prompt} is the task card's")] = ()
    version_command: Annotated[tuple[str, ...], Field("command that prints the harness's version")] = ()
    settings: Annotated[Mapping[str, str], Field("names and defaults of settings that a variant may change")] = field(
        default_factory=dict
    )
    side_calls: Annotated[tuple[SideCall, ...], Field("how its side calls are known; the first that fits says it")] = ()
    id_headers: Annotated[
        tuple[str, ...], Field("request headers in which it sends ids of its own, of its session, thread or agent")
    ] = ()
    install: Annotated[str, Field("command that installs it, for people")] = ""
    scripted_model: Annotated[str, Field("script that takes it through `dyno harness check`")] = "write-file"
    deferred: Annotated[str | None, Field("why it cannot be verified; none when it can")] = None
    limits: Annotated[tuple[str, ...], Field("known limits, each with its source")] = ()


@dataclass(frozen=True)
class SetupStep:
    """One step of what a variant needs before its harness can work: built or installed once, and kept."""

    command: Annotated[tuple[str, ...], Field("command, templates; run in ${setup_dir}, whose bin/ is first on PATH")]
    timeout_s: Annotated[float, Field("time that it may take", unit="s")] = 600


@dataclass(frozen=True)
class Limits:
    """What one headless cell may use at most, and what is set aside for it. None: not limited, nothing set aside."""

    cpu_cores: Annotated[int | None, Field("cores that it may run on")] = None
    memory_bytes: Annotated[int | None, Field("resident memory of all its processes together", unit="bytes")] = None
    processes: Annotated[int | None, Field("processes at a time")] = 1000
    disk_bytes: Annotated[int | None, Field("what it may write", unit="bytes")] = 4 * 1024**3
    output_bytes: Annotated[int | None, Field("what it may print", unit="bytes")] = 256 * 1024**2
    guaranteed_cpu_cores: Annotated[float | None, Field("cores set aside for each cell that runs")] = None
    guaranteed_memory_bytes: Annotated[int | None, Field("memory set aside for each cell that runs", unit="bytes")] = (
        None
    )


@dataclass(frozen=True)
class Variant:
    """Provider route + model + harness profile + harness settings."""

    name: Annotated[str, Field("name, unique among variants", index=True)]
    provider: Annotated[str, Field("provider", ref="provider.name")]
    model: Annotated[str, Field("model, one of the provider's; also the name that the harness asks for")]
    harness_profile: Annotated[str, Field("harness profile", ref="harness_profile.name")]
    description: Annotated[str, Field("one line for people")] = ""
    small_model: Annotated[
        str | None, Field("model for the harness's side calls, one of the provider's; `model` when absent")
    ] = None
    settings: Annotated[Mapping[str, str], Field("values for the settings that the harness profile declares")] = field(
        default_factory=dict
    )
    env: Annotated[Mapping[str, str], Field("further environment variables, templates")] = field(default_factory=dict)
    setup: Annotated[
        tuple[SetupStep, ...], Field("what a headless cell needs built or installed before, in ${setup_dir}")
    ] = ()
    workspace_files: Annotated[
        Mapping[str, str], Field("files that a headless cell lays into its workspace: path to template")
    ] = field(default_factory=dict)
    home_files: Annotated[Mapping[str, str], Field("files that it lays into its HOME: path to template")] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class TaskCard:
    """The work: repository and commit, goal, starting prompt, stop condition, timebox, checks."""

    name: Annotated[str, Field("name, unique among task cards", index=True)]
    goal: Annotated[str, Field("what is to be achieved, in words")]
    prompt: Annotated[str, Field("the starting prompt, given to the harness verbatim")]
    repository: Annotated[
        str | None, Field("Git repository that a headless cell starts from, URL or path; an empty one when absent")
    ] = None
    commit: Annotated[
        str | None, Field("its commit, tag or branch; nothing later is in the workspace; its HEAD when absent")
    ] = None
    stop_condition: Annotated[str, Field("when the work is over, in words")] = ""
    timebox_s: Annotated[
        float | None, Field("time that a headless harness has; the stand's own limit when absent", unit="s")
    ] = None
    files: Annotated[Mapping[str, str], Field("files laid into the working folder before the start: path to text")] = (
        field(default_factory=dict)
    )
    checks: Annotated[tuple[Check, ...], Field("tests of the result")] = ()
    check_files: Annotated[
        Mapping[str, str], Field("files laid in after a headless harness has ended, for the checks: path to text")
    ] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A named comparison of one or more variants over task cards."""

    name: Annotated[str, Field("name, unique among experiments", index=True)]
    variants: Annotated[tuple[str, ...], Field("variants to compare", ref="variant.name")]
    task_cards: Annotated[tuple[str, ...], Field("task cards that every variant works on", ref="task_card.name")]
    description: Annotated[str, Field("the question, in one line")] = ""
    baseline: Annotated[str | None, Field("the variant that others are compared with", ref="variant.name")] = None
    repeats: Annotated[int, Field("sessions for each variant and task card")] = 1
    shared_model: Annotated[str | None, Field("the one model that every variant must use")] = None
    aa_arm: Annotated[bool, Field("run the baseline a second time, as an arm of its own: the noise floor")] = False
    ablate: Annotated[
        str | None, Field("variant that is also run with each of its parts left out", ref="variant.name")
    ] = None
    ablate_parts: Annotated[
        tuple[str, ...], Field("the parts to leave out, such as workspace_files/AGENTS.md; all when absent")
    ] = ()
    sandbox: Annotated[str | None, Field("where cells run: bubblewrap or process; the best there is when absent")] = (
        None
    )
    limits: Annotated[Limits, Field("what a cell may use")] = Limits()
    max_attempts: Annotated[int, Field("attempts at a cell when it is the stand that fails")] = 3
    keep_output: Annotated[bool, Field("keep what the harness prints, redacted")] = False
