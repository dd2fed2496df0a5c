#!/usr/bin/env bash
# Runs deploy/cluster/compose.yaml and breaks it under load: the programs are those of the directory $1 (target/release),
# what follows goes to the program `cluster` (--only, --rounds, --seed, --out). With --engine alone it says whether there
# is a container engine. The images are made here. KEEP=1 leaves the containers.
set -euo pipefail
# shellcheck source=tests/containers/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PORT=18082
export COMPOSE_PROJECT_NAME=fourwiretest

main() {
  local binaries
  need_engine
  [[ ${1:-} != --engine ]] || return 0
  binaries=$(cd "${1:-$ROOT/target/release}" && pwd -P)
  (($# == 0)) || shift
  work=$(mktemp -d)
  trap clean_up EXIT
  cd "$ROOT"
  deploy/cluster/images.sh "$binaries" >"$work/env"
  # Compose prefers the environment to a file.
  set -a
  # shellcheck source=/dev/null
  source "$work/env"
  FOURWIRE_PORT=$PORT
  set +a
  compose=docker-compose
  ! docker compose version >/dev/null 2>&1 || compose="docker compose"
  compose="$compose -f deploy/cluster/compose.yaml"
  $compose down -v --remove-orphans >/dev/null 2>&1 || true
  $compose up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; exit 1; }
  "$binaries/cluster" --project "$COMPOSE_PROJECT_NAME" --url "http://127.0.0.1:$PORT" --what "$(what "$binaries")" "$@"
}

# What the page says of the run.
what() {
  local image=fourwire-cluster/stands-on versions
  versions=$(docker run --rm --entrypoint dpkg-query "$image" --show --showformat '${Package} ${Version}, ' \
    rabbitmq-server postgresql-17 patroni etcd-server haproxy)
  echo "By \`make cluster-test\`: $("$1/broker" --version), all 17 containers on $(nproc) cores," \
    "$(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo); ${versions%, }; Docker $(engine_version)."
}

engine_version() { docker version --format '{{.Server.Version}}'; }

clean_up() {
  local status=$?
  if [[ -n ${compose:-} ]]; then
    ((status == 0)) || $compose ps >&2 || true
    ((status == 0)) || $compose logs --no-color --tail 15 >&2 || true
    [[ -n ${KEEP:-} ]] || $compose down -v >/dev/null 2>&1 || true
  fi
  rm -rf "$work"
}

main "$@"
