#!/usr/bin/env bash
# Starts deploy/compose.yaml from a clean clone with every compose that is installed, and verifies what
# docs/deploying.md says of it. The images are made on this machine, with the programs of the directory $1
# (target/release).
set -euo pipefail
# shellcheck source=tests/containers/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FIRST_ENTRY_MS=30000
IMAGE_BYTES=$((70 * 1000 * 1000))
PORT=18080
URL=http://localhost:$PORT
CURL=()

main() {
  local binaries compose
  binaries=$(cd "${1:-$ROOT/target/release}" && pwd -P)
  need_engine
  work=$(mktemp -d)
  trap clean_up EXIT
  git clone --quiet "$ROOT" "$work/clone"
  cd "$work/clone"
  echo "The images, made with debootstrap:"
  deploy/docker/offline.sh "$binaries" >"$work/env"
  set -a
  # shellcheck source=/dev/null
  source "$work/env"
  FOURWIRE_IMAGE=fourwire-test:local FOURWIRE_PORT=$PORT
  set +a
  composes=()
  ! docker compose version >/dev/null 2>&1 || composes+=("docker compose")
  ! command -v docker-compose >/dev/null || composes+=(docker-compose)
  ((${#composes[@]} > 0)) || { echo "NOT RUN: there is neither 'docker compose' nor docker-compose." >&2; exit 1; }
  for compose in "${composes[@]}"; do verify "$compose"; done
}

verify() {
  compose="$1 -p fourwire-test -f deploy/compose.yaml"
  echo "$1 ($($1 version --short)):"
  $compose build >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
  verify_image
  verify_first_entry
  verify_confinement
  verify_outage
  verify_restart
  $compose down -v >/dev/null 2>&1
}

verify_image() {
  local above
  above=$(($(docker image inspect --format '{{.Size}}' "$FOURWIRE_IMAGE") -
    $(docker image inspect --format '{{.Size}}' "$FOURWIRE_BASE_IMAGE")))
  holds "the image is $((above / 1000000)) MB above its base, at most $((IMAGE_BYTES / 1000000))" \
    [ "$above" -le "$IMAGE_BYTES" ]
}

verify_first_entry() {
  local began taken
  began=$(now_ms)
  $compose up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; exit 1; }
  within 60 accepts http first || true
  taken=$(($(now_ms) - began))
  holds "the first entry is stored $taken ms after 'up', at most $FIRST_ENTRY_MS" [ "$taken" -le "$FIRST_ENTRY_MS" ]
  within 60 accepts rabbitmq first || true
  holds "rabbitmq accepts $(($(now_ms) - began)) ms after it" within 30 has_stored first 2
  for transport in rpc grpc; do holds "$transport stores" accepts "$transport" first; done
  holds "all four are stored" within 20 has_stored first 4
  for service in logger listener broker; do
    holds "$service is healthy" within 30 is_healthy "$($compose ps -q "$service")"
  done
}

verify_confinement() {
  local service id queue
  for service in logger listener broker; do
    id=$($compose ps -q "$service")
    holds "$service runs as user 10001" [ "$(user_of "$id")" = 10001 ]
    holds "$service has a read-only root, and no capability" is_confined "$id"
    holds "$service gets no new privileges" grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$(pid_of "$id")/status"
  done
  holds "RabbitMQ does not run as root" [ "$(user_of "$($compose ps -q rabbitmq)")" != 0 ]
  holds "only the broker's port is published, on 127.0.0.1" [ "$(published)" = "127.0.0.1:$PORT" ]
  holds "a page whose name was made to lead here is refused" [ "$(status_for evil.example)" = 403 ]
  holds "localhost is served" [ "$(status_for localhost)" = 200 ]
  holds "a burst of the page runs" runs_burst
  holds "RabbitMQ has one user, fourwire" [ "$(rabbitmq list_users --silent --no-table-headers | cut -f1)" = fourwire ]
  queue=$(rabbitmq list_queues --silent --no-table-headers name type | sort | tr '\t\n' '  ')
  holds "both queues are quorum queues: $queue" [ "$queue" = "logs.dead quorum logs.entries quorum " ]
  holds "nobody but its owner may read the password" \
    [ "$(docker exec "$($compose ps -q broker)" stat -c '%a %u' /secrets/amqp_url)" = "600 10001" ]
}

verify_outage() {
  local transport
  $compose kill logger >/dev/null 2>&1
  for transport in http rpc grpc; do
    holds "without the logger $transport returns 503" [ "$(send "$transport" outage)" = 503 ]
  done
  holds "rabbitmq queues" accepts rabbitmq outage
  $compose start logger >/dev/null 2>&1
  holds "what was queued is stored once it is back" within 30 has_stored outage 1
}

verify_restart() {
  $compose down >/dev/null 2>&1
  $compose up -d >/dev/null 2>&1
  holds "after 'down' and 'up' all are there" within 60 has_stored first 4
  holds "and RabbitMQ takes the same password" within 60 accepts rabbitmq again
}

# The addresses that the project's containers have published.
published() {
  local ids each='{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}'
  mapfile -t ids < <($compose ps -q)
  docker inspect --format "$each" "${ids[@]}" | xargs
}

status_for() {
  curl --silent --output /dev/null --write-out '%{http_code}' --max-time 10 -H "Host: $1:$PORT" "$URL/logs?limit=1"
}

runs_burst() { curl --silent --max-time 60 -d '{"entries":10}' "$URL/burst" | grep -q '"why":"done"'; }

rabbitmq() { docker exec "$($compose ps -q rabbitmq)" rabbitmqctl "$@"; }

clean_up() {
  local status=$?
  if [[ -n ${compose:-} ]]; then
    ((status == 0)) || $compose logs --no-color --tail 20 >&2 || true
    $compose down -v >/dev/null 2>&1 || true
  fi
  rm -rf "$work"
}

main "$@"
