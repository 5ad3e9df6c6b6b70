"""Configuration: YAML texts in, records out, every fault at once. Pure; files are read elsewhere.

    dyno.yaml                       the stand's own settings
    configs/<kind>s/<name>.yaml     one entity a file, named as its file unless `name` says otherwise

Whatever looks like a secret is refused anywhere in a text, comments included, and shown in no message.
"""

from agentdyno.core.config.entities import FOLDERS
from agentdyno.core.config.loading import (
    Config,
    entity_digest,
    load,
    missing_secrets,
    secrets_of,
    without_admin_keys,
)
from agentdyno.core.config.settings import DeploymentSettings, GatewaySettings, SessionSettings, StandSettings
from agentdyno.core.fingerprints import fingerprint
from agentdyno.core.layout import CONFIGS_FOLDER, SETTINGS_FILE

__all__ = [
    "CONFIGS_FOLDER",
    "FOLDERS",
    "SETTINGS_FILE",
    "Config",
    "DeploymentSettings",
    "GatewaySettings",
    "SessionSettings",
    "StandSettings",
    "entity_digest",
    "fingerprint",
    "load",
    "missing_secrets",
    "secrets_of",
    "without_admin_keys",
]
