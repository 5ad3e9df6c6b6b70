#!/usr/bin/env bash
# Provides .uv/bin/uv: the uv on PATH if it is new enough, else the one that requirements/tools.lock pins, in a
# virtual environment of its own. Needs a Python with venv; asks scripts/system-packages.sh for it where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly NEEDED=0.13.8
python=${UV_PYTHON:-python3}

new_enough() { # does this uv run, and is its version at least NEEDED?
  local version
  version=$("$1" --version 2>/dev/null | awk '{ print $2 }') && [ -n "$version" ] &&
    [ "$(printf '%s\n' "$NEEDED" "$version" | sort -V | head -n 1)" = "$NEEDED" ]
}

rm -rf .uv
if found=$(command -v uv) && new_enough "$found"; then
  mkdir -p .uv/bin
  ln -s "$found" .uv/bin/uv
  exit 0
fi

echo "installing uv into .uv"
"$python" -c 'import ensurepip, venv' 2>/dev/null || scripts/system-packages.sh
"$python" -m venv .uv
.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.lock
