"""How the files of a project are called."""

from __future__ import annotations

from typing import Final

SETTINGS_FILE: Final = "dyno.yaml"
CONFIGS_FOLDER: Final = "configs"
HOME_FOLDER: Final = ".dyno"
YAML_SUFFIXES: Final = (".yaml", ".yml")
