#!/usr/bin/env bash
# Installs strace where it is missing and that is permitted: the trial `sync-order` reads the logger's system calls.
set -euo pipefail

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/$(basename "${BASH_SOURCE[0]}")

apt_get() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --quiet=2 --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=20 -o Acquire::Retries=1 "$@" </dev/null
}

if command -v strace >/dev/null; then
  exit 0
elif ((EUID == 0)) && command -v apt-get >/dev/null; then
  { apt_get install strace || { apt_get update && apt_get install strace; }; } >&2
elif sudo -n true 2>/dev/null; then
  exec sudo -n bash "$SELF"
else
  echo "The tests need strace: install it with 'sudo deploy/strace.sh' and try again." >&2
  exit 1
fi
