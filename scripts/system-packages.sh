#!/usr/bin/env bash
# Installs from Debian's packages what the stand needs of the system and finds missing, and says what it adds.
# As root, or through sudo. Does nothing, and needs no rights, where nothing is missing. What only some task needs is
# named as an argument, by its package, whose command is called the same: scripts/system-packages.sh parallel
set -euo pipefail

missing=()
need() { # need PACKAGE COMMAND...: PACKAGE is missing when COMMAND fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need git git --version
need make make --version
need gcc cc --version
need python3 python3 --version
need python3-venv python3 -c 'import ensurepip, venv'
need bubblewrap bwrap --version # the walls around headless cells
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
for package in "$@"; do
  need "$package" "$package" --version
done

[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo)
fi
if ! command -v apt-get >/dev/null || { [ ${#as_root[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
  echo "missing on this system: ${missing[*]}; as root: apt-get install ${missing[*]}; then run the same command again" >&2
  exit 1
fi
echo "adding Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
