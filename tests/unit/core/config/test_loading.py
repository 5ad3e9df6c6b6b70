from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.config.small_project import (
    EXPERIMENT,
    PROFILE,
    PROVIDER,
    SMALL_PROJECT,
    TASK_CARD,
    VARIANT,
    added,
    changed,
)

from agentdyno.core.config import StandSettings, entity_digest, fingerprint, load, missing_secrets, secrets_of
from agentdyno.core.errors import ConfigFaults, UserError
from agentdyno.core.records import Check, Experiment, HarnessProfile, ModelPrice, Provider, Route, TaskCard, Variant

YAMLISH = st.text(alphabet="abk:- \n\"'[]{}#&*!|>%@`,?0.~<=\t\\x", max_size=60)


def test_every_kind_of_entity_becomes_its_record() -> None:
    config = load(SMALL_PROJECT)

    assert config.provider("mine") == Provider(
        name="mine",
        routes={"openai_chat": Route("openai", "/v1")},
        models=("small", "large"),
        api_key_env="MINE_API_KEY",
    )
    assert config.harness_profile("client") == HarnessProfile(
        name="client",
        surface="openai_chat",
        env={"API_KEY": "${session_key}"},
        files={"client.json": '{"url": "${gateway_url}", "retries": ${retries}}'},
        command=("client", "${prompt}"),
        settings={"retries": "1"},
    )
    assert config.variant("first") == Variant("first", "mine", "small", "client", settings={"retries": "0"})
    assert config.task_card("hello") == TaskCard(
        name="hello",
        goal="a greeting",
        prompt="Say hello.",
        checks=(
            Check("file_matches", "answer.txt", pattern="Hello"),
            Check("json_equals", "answer.json", path="a.b", value=False),
        ),
    )
    assert config.experiment("trial") == Experiment("trial", ("first",), ("hello",), baseline="first")


def test_no_text_at_all_is_a_valid_configuration() -> None:
    config = load({})

    assert config.settings == StandSettings()
    assert config.settings.gateway.port == 4141
    assert dict(config.variants) == {}


def test_settings_are_read_field_by_field() -> None:
    settings = load({"dyno.yaml": "gateway: {port: 0}\nsession: {time_to_live_s: 60}"}).settings

    assert (settings.gateway.host, settings.gateway.port, settings.session.time_to_live_s) == ("127.0.0.1", 0, 60)


def test_a_name_may_be_another_than_the_files() -> None:
    config = load(added("configs/task_cards/file.yaml", "name: other\ngoal: g\nprompt: p\n"))

    assert sorted(config.task_cards) == ["hello", "other"]


def test_keys_and_dates_are_text() -> None:
    # YAML would make a boolean, a number and a date of these.
    files = changed(VARIANT, "model: small", "model: 2024-10-22\nenv: {on: a, _1: b}")
    files[PROVIDER] = files[PROVIDER].replace("[small,", "[2024-10-22, small,")

    variant = load(files).variant("first")

    assert (variant.model, dict(variant.env)) == ("2024-10-22", {"on": "a", "_1": "b"})


def test_all_faults_come_at_once_in_the_order_of_files_and_lines() -> None:
    files = {
        **SMALL_PROJECT,
        "dyno.yaml": "gatway: {}",
        PROVIDER: "routes: {}\nmodels: x\n",
        VARIANT: "provider: min\nmodel: small\nharness_profile: client\nmodel: large\n",
        TASK_CARD: "goal: [\n",
    }

    with pytest.raises(ConfigFaults) as raised:
        load(files)

    assert [(fault.file, fault.line, fault.field) for fault in raised.value.faults] == [
        (PROVIDER, 2, "models"),
        (TASK_CARD, 2, ""),
        (VARIANT, 1, "provider"),
        (VARIANT, 4, "model"),
        ("dyno.yaml", 1, "gatway"),
    ]
    assert raised.value.exit_code == 2


def test_what_refers_to_a_faulty_entity_is_not_a_second_fault() -> None:
    with pytest.raises(ConfigFaults) as raised:
        load({**SMALL_PROJECT, PROFILE: "surface: ["})

    assert len(raised.value.faults) == 1


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("frist", 'did you mean "first"?'), ("FIRST", 'did you mean "first"?'), ("unlike", 'there is "first"')],
)
def test_a_lookup_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UserError) as raised:
        load(SMALL_PROJECT).variant(wrong)

    assert str(raised.value) == f'variant "{wrong}" is not defined; {right}'


def test_secrets_are_named_by_the_key_and_by_references_to_the_environment() -> None:
    options = "options: {project: os.environ/MINE_PROJECT, region: here, again: os.environ/MINE_API_KEY}\nmodels:"
    config = load(changed(PROVIDER, "models:", options))
    variant = config.variant("first")

    assert secrets_of(config.provider("mine")) == ("MINE_API_KEY", "MINE_PROJECT")
    assert missing_secrets(config, variant, {}) == ["MINE_API_KEY", "MINE_PROJECT"]
    assert missing_secrets(config, variant, {"MINE_API_KEY": "", "MINE_PROJECT": "p"}) == ["MINE_API_KEY"]
    assert missing_secrets(config, variant, {"MINE_API_KEY": "k", "MINE_PROJECT": "p"}) == []


def test_a_fingerprint_changes_with_everything_but_descriptions_and_prices() -> None:
    config = load(SMALL_PROJECT)
    variant, provider, profile = config.variant("first"), config.provider("mine"), config.harness_profile("client")
    original = fingerprint(variant, provider, profile)

    assert original == fingerprint(
        replace(variant, description="a"), replace(provider, description="b"), replace(profile, description="c")
    )
    assert original == fingerprint(variant, replace(provider, prices={"small": ModelPrice(1.0, 2.0)}), profile)
    assert original != fingerprint(replace(variant, settings={}), provider, profile)
    assert original != fingerprint(variant, replace(provider, base_url="http://elsewhere"), profile)
    assert original != fingerprint(variant, provider, replace(profile, command=()))


def test_an_entitys_digest_covers_its_description() -> None:
    variant = load(SMALL_PROJECT).variant("first")

    assert entity_digest(variant) == entity_digest(replace(variant))
    assert entity_digest(variant) != entity_digest(replace(variant, description="another"))


@pytest.mark.parametrize("secret", ["sk-proj-abcdefgh12345678", "hf_abcdefghijKLMNOP1234", "q7Xk2mP9vR4tL8wZ3nB6yC1d"])
@pytest.mark.parametrize(
    "text",
    [
        "provider: mine\nmodel: {secret}\nharness_profile: client\n",
        "provider: mine\nmodel: small\nharness_profile: client\nsettings: {{{secret}: x}}\n",
        "provider: mine # {secret}\nmodel: small\nharness_profile: client\n",
        "provider: mine\nmodel: [{secret}\n",
        "name: {secret}\nprovider: {secret}\nmodel: 1\nharness_profile: {secret}\n",
    ],
)
def test_a_secret_anywhere_is_a_fault_and_is_not_shown(secret: str, text: str) -> None:
    with pytest.raises(ConfigFaults) as raised:
        load({**SMALL_PROJECT, EXPERIMENT: "variants: []", VARIANT: text.format(secret=secret)})

    assert "holds what looks like a secret" in str(raised.value)
    assert secret not in str(raised.value)


def test_a_secret_is_reported_at_its_field() -> None:
    with pytest.raises(ConfigFaults) as raised:
        load(changed(PROVIDER, "MINE_API_KEY", "sk-abcdefgh12345678"))

    assert (
        str(raised.value) == "configs/providers/mine.yaml:4: api_key_env holds what looks like a secret; "
        "put it into the environment and name the variable here"
    )


@given(file=st.sampled_from(sorted(SMALL_PROJECT)), text=st.text() | YAMLISH)
def test_any_text_is_a_configuration_or_faults(file: str, text: str) -> None:
    try:
        load({**SMALL_PROJECT, file: text})
    except ConfigFaults as faults:
        assert faults.faults


@given(data=st.data(), file=st.sampled_from(sorted(set(SMALL_PROJECT) - {"dyno.yaml"})))
def test_any_damage_to_a_text_is_survived(data: st.DataObject, file: str) -> None:
    text = SMALL_PROJECT[file]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    damaged = text[:start] + data.draw(YAMLISH) + text[end:]
    try:
        load({**SMALL_PROJECT, file: damaged})
    except ConfigFaults as faults:
        assert all(0 <= fault.line <= damaged.count("\n") + 1 for fault in faults.faults if fault.file == file)


def test_a_built_in_entity_is_there_unless_a_file_has_its_name() -> None:
    mine = load(SMALL_PROJECT).harness_profile("client")
    other = {
        PROFILE: "surface: anthropic_messages\nenv: {}\n",
        f"{PROFILE[:-11]}other.yaml": "surface: gemini\nenv: {}\n",
    }

    config = load(SMALL_PROJECT, other)

    assert config.harness_profile("client") == mine, "a user's own wins"
    assert config.harness_profile("other").surface == "gemini"


def test_a_fault_of_a_built_in_entity_is_shown_too() -> None:
    with pytest.raises(ConfigFaults, match=r"other\.yaml"):
        load(SMALL_PROJECT, {f"{PROFILE[:-11]}other.yaml": "surface: morse\nenv: {}\n"})


def test_a_side_call_rule_must_say_something() -> None:
    rules = "\nside_calls:\n  - {purpose: title}\n  - {purpose: probe, at_most_output_tokens: 1}\n"
    rules += "  - {purpose: probe, at_most_output_tokens: 0}\n"
    with pytest.raises(ConfigFaults) as caught:
        load(changed(PROFILE, 'retries: "1"\n', f'retries: "1"{rules}'))
    assert [fault.field for fault in caught.value.faults] == ["side_calls[0]", "side_calls[2].at_most_output_tokens"]


def test_a_side_call_with_a_faulty_condition_has_that_fault_alone() -> None:
    rules = "\nside_calls:\n  - {purpose: title, offers_tools: 1}\n"
    with pytest.raises(ConfigFaults) as caught:
        load(changed(PROFILE, 'retries: "1"\n', f'retries: "1"{rules}'))
    [fault] = caught.value.faults
    assert fault.field == "side_calls[0].offers_tools"


def test_a_small_model_must_be_the_providers() -> None:
    assert (
        load(changed(VARIANT, "model: small", "model: small\nsmall_model: large")).variant("first").small_model
        == "large"
    )
    with pytest.raises(ConfigFaults, match="small_model"):
        load(changed(VARIANT, "model: small", "model: small\nsmall_model: huge"))
