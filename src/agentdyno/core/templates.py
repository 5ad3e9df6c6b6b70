"""Rendering: `${name}` is replaced by a value, `$$` is one dollar sign, everything else stays as it is.

Pure. A bare `$name` is left alone, for shells and other configurations have a meaning for it. Values are not templates
themselves: what they hold stays as it is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from agentdyno.core.errors import UserError
from agentdyno.core.names import suggestion

KEY_IN_ADDRESS = "gateway_url_with_key"
"""For harnesses that take a base URL and no key. Only the stand's gateway takes a key there."""
SECRET_NAMES = frozenset({"session_key", KEY_IN_ADDRESS})
"""What holds the session's key."""
SETUP_NAMES = frozenset({"model", "small_model", "setup_dir"})
"""What it fills in in setup steps, which are made once for many sessions."""
STAND_NAMES = SECRET_NAMES | SETUP_NAMES | {"gateway_url", "session_id", "files_dir", "workspace"}
"""What the stand fills in, in every template."""
COMMAND_NAMES = STAND_NAMES - SECRET_NAMES | {"prompt"}
"""What it fills in in commands: not the key, for everyone on the machine can read the process list."""

_PLACEHOLDER = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<broken>\{))")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,-]+")
_PAIRED_BACKSLASH = re.compile(r"\\(?:\\|\Z)")
_SPECIAL = re.compile(r'["\\$`]')
"""What a shell gives a meaning to between double quotes."""


def names_in(template: str) -> tuple[str, ...]:
    """The names that a template asks for, in order of appearance."""
    return tuple(match["name"] for match in _PLACEHOLDER.finditer(template) if match["name"] is not None)


def is_broken(template: str) -> bool:
    """Whether some `${` of the template does not begin a `${name}`."""
    return any(match["broken"] is not None for match in _PLACEHOLDER.finditer(template))


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with its values. Raises UserError for a name that has none; a broken `${` stays as it is."""

    def value_of(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "${" if match["broken"] else "$"
        if name not in values:
            raise UserError(f'template name "{name}" is not defined', suggestion(name, values))
        return values[name]

    return _PLACEHOLDER.sub(value_of, template)


def render_values(templates: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Rendered environment variables, or rendered files by their path."""
    return {name: render(template, values) for name, template in templates.items()}


def render_command(templates: Iterable[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """A command's arguments; each template is one argument, whatever its value holds."""
    return tuple(render(template, values) for template in templates)


def shell_snippet(env: Mapping[str, str]) -> str:
    """`export` lines for a POSIX shell, in the order given. An empty environment is the empty text."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())


def dotenv(env: Mapping[str, str]) -> str:
    """A `.env` file, of which a shell (`set -a; . FILE`) and dotenv readers make the same, and which runs nothing.

    Raises UserError for a value that no quotes keep for both: one with a single quote and another special character
    (`"`, `\\`, `$`, a backtick), or with a backslash before another one or at its end.
    """
    return "".join(f"{name}={_dotenv_value(name, value)}\n" for name, value in env.items())


def _dotenv_value(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    # Between single quotes a shell keeps everything, while some dotenv readers take `\\` and `\'` for one character.
    if "'" not in value and not _PAIRED_BACKSLASH.search(value):
        return f"'{value}'"
    if not _SPECIAL.search(value):
        return f'"{value}"'
    raise UserError(f"the quotes or backslashes of {name} fit no env file", "have it printed: leave out --env-file")
