#!/usr/bin/env bash
# Installs what the tests need besides Rust and RabbitMQ, where it is missing and that is permitted: strace, for the
# trial `sync-order`, which reads the logger's system calls; gRPC and pika for Python, for a client in another
# language and the labs; Go with gRPC and RabbitMQ's client, for services that speak as the course's do, with SQLite
# for the peer that `compare peer` measures beside them, and wrk, which loads both; Node, for clients in other
# languages; Chromium with its driver, for the page; Prometheus, for its promtool, which checks our rules and metrics;
# and from PyPI into .run/otlp OpenTelemetry's SDK, which exports logs. With the word `schemathesis` it installs that
# alone, from PyPI into .run/schemathesis; with `kubernetes` kubernetes-validate, into .run/kubernetes; with
# `pictures` Pillow, into .run/pictures; with `packages` Debian's packages alone.
set -euo pipefail

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/$(basename "${BASH_SOURCE[0]}")
# shellcheck source=deploy/lib.sh
source "$(dirname "$SELF")/lib.sh"

# Installs packages of PyPI into an environment of their own: these versions, so that a run does not fail for what newer
# ones have learned.
environment() {
  local directory
  directory=$(dirname "$(dirname "$SELF")")/.run/$1
  shift
  # What is there already is found without asking anybody.
  if [[ ! -e $directory/installed || $(<"$directory/installed") != "$*" ]]; then
    python3 -m venv "$directory"
    "$directory/bin/pip" install --quiet --disable-pip-version-check "$@"
    echo "$*" >"$directory/installed"
  fi
}

# Of Prometheus only its tool is wanted: its service would listen on its port now and at every boot.
install_missing() {
  local package others=()
  for package; do
    case $package in
      prometheus) install_without_starting "$package" 'prometheus*' ;;
      *) others+=("$package") ;;
    esac
  done
  ((${#others[@]} == 0)) || apt_install "${others[@]}"
}

case ${1:-} in
  # Not joined by &&: bash would ignore a pip that fails.
  schemathesis) environment schemathesis schemathesis==4.32.5; exit ;;
  kubernetes) environment kubernetes kubernetes-validate==1.37.0; exit ;;
  pictures) environment pictures pillow==12.0.0; exit ;;
esac

missing=() # Debian's packages

need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

need strace command -v strace
need chromium-driver command -v chromedriver
need python3-grpcio /usr/bin/python3 -c 'import grpc'
need golang-go command -v go
# Its older protobuf knows no optional fields, and would be installed if nothing else were said.
need golang-google-grpc-dev dpkg --status golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev
need golang-github-golang-protobuf-1-5-dev dpkg --status golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev
need golang-github-rabbitmq-amqp091-go-dev test -d /usr/share/gocode/src/github.com/rabbitmq/amqp091-go
need golang-github-mattn-go-sqlite3-dev test -d /usr/share/gocode/src/github.com/mattn/go-sqlite3
need libsqlite3-dev test -e /usr/include/sqlite3.h
need wrk command -v wrk
need python3-pika /usr/bin/python3 -c 'import pika'
need protobuf-compiler command -v protoc
need protobuf-compiler-grpc command -v grpc_python_plugin
need protoc-gen-go command -v protoc-gen-go
need protoc-gen-go-grpc command -v protoc-gen-go-grpc
need nodejs command -v node
need prometheus command -v promtool
need python3-venv /usr/bin/python3 -c 'import ensurepip'

if ((${#missing[@]} == 0)); then
  :
elif ((EUID == 0)) && command -v apt-get >/dev/null; then
  install_missing "${missing[@]}" >&2
elif sudo -n true 2>/dev/null; then
  sudo -n bash "$SELF" packages
else
  die "The tests need ${missing[*]}: install it with 'sudo deploy/tools.sh' and try again."
fi

if [[ ${1:-} != packages ]]; then
  environment otlp opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-{http,grpc}==1.45.2
fi
