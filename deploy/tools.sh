#!/usr/bin/env bash
# Installs what the tests need besides Rust and RabbitMQ, where it is missing and that is permitted: strace, for the trial
# `sync-order`, which reads the logger's system calls; gRPC and pika for Python, for a client in another language and the
# labs; and Chromium with its driver, for the page. With the word `schemathesis` it installs that alone, from PyPI into
# .run/schemathesis.
set -euo pipefail

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/$(basename "${BASH_SOURCE[0]}")

if [[ ${1:-} == schemathesis ]]; then
  environment=$(dirname "$(dirname "$SELF")")/.run/schemathesis
  # This version, so that a run does not fail for what a newer one has learned.
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
  exit
fi

missing=() # Debian's packages

need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --quiet=2 --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=20 -o Acquire::Retries=1 "$@" </dev/null
}

need strace command -v strace
need chromium-driver command -v chromedriver
need python3-grpcio /usr/bin/python3 -c 'import grpc'
need python3-pika /usr/bin/python3 -c 'import pika'
need protobuf-compiler command -v protoc
need protobuf-compiler-grpc command -v grpc_python_plugin

if ((${#missing[@]} == 0)); then
  exit 0
elif ((EUID == 0)) && command -v apt-get >/dev/null; then
  { apt_get install "${missing[@]}" || { apt_get update && apt_get install "${missing[@]}"; }; } >&2
elif sudo -n true 2>/dev/null; then
  exec sudo -n bash "$SELF"
else
  echo "The tests need ${missing[*]}: install it with 'sudo deploy/tools.sh' and try again." >&2
  exit 1
fi
