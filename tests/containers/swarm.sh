#!/usr/bin/env bash
# Runs deploy/swarm.yaml in a swarm of this one node: secrets, health checks, and a rolling update of every service
# under load, after which every accepted entry must be stored. The programs are those of the directory $1
# (target/release). A swarm that is there already is left alone: then nothing is run.
set -euo pipefail
# shellcheck source=tests/containers/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PORT=18081
# As the client calls it: in the network, and by a name that is in its certificate.
URL=https://localhost:8080
STACK=fourwire-test

main() {
  local binaries service
  binaries=$(cd "${1:-$ROOT/target/release}" && pwd -P)
  need_engine
  if [[ $(docker info --format '{{.Swarm.LocalNodeState}}') != inactive ]]; then
    echo "NOT RUN: this engine is in a swarm already." >&2
    exit 1
  fi
  work=$(mktemp -d)
  trap clean_up EXIT
  cd "$ROOT"
  deploy_stack
  holds "the first entry is stored over https with a key" within 60 accepts http first
  holds "rabbitmq accepts over amqps" within 60 accepts rabbitmq first
  for transport in rpc grpc; do holds "$transport stores over TLS" accepts "$transport" first; done
  holds "all four are stored" within 20 has_stored first 4
  verify_protection
  for service in broker listener logger; do update "$service"; done
}

deploy_stack() {
  local node
  docker swarm init --advertise-addr 127.0.0.1 >/dev/null
  swarm=yes
  node=$(docker node ls --quiet)
  docker node update --label-add fourwire.logs=true --label-add fourwire.rabbitmq=true "$node" >/dev/null
  deploy/docker/offline.sh "$binaries" >"$work/env"
  # shellcheck source=/dev/null
  source "$work/env"
  export RABBITMQ_IMAGE FOURWIRE_PORT=$PORT FOURWIRE_IMAGE=fourwire-test:swarm
  build_image "$FOURWIRE_IMAGE" -f deploy/docker/Dockerfile --build-arg BUILD_IMAGE="$FOURWIRE_BUILD_IMAGE" \
    --build-arg BASE_IMAGE="$FOURWIRE_BASE_IMAGE" .
  # For updates: the same programs, but another image.
  build_image fourwire-test:next - <<<"FROM $FOURWIRE_IMAGE
LABEL next=yes"
  # A client, which is not in the image that is deployed.
  build_image fourwire-test:client - <<<"FROM $FOURWIRE_BASE_IMAGE
RUN apt-get update && apt-get install --yes --no-install-recommends curl python3"
  "$binaries/certs" "$work/certs" >/dev/null
  key=$("$binaries/new-key" alice write,read "$work/keys")
  deploy/swarm.sh secrets "$work/certs" "$work/keys"
  docker stack deploy --resolve-image never -c deploy/swarm.yaml -c tests/containers/client.yaml "$STACK" \
    >"$work/deploy.log" 2>&1 || { cat "$work/deploy.log" >&2; exit 1; }
  within 60 container client || { echo "The client does not start." >&2; exit 1; }
  client=$(container client)
  docker cp tests/containers/load.py "$client:/load.py" >/dev/null 2>&1
  CURL=(--cacert /run/secrets/ca --connect-to localhost:8080:tasks.broker:8080 -H "Authorization: Bearer $key")
}

# What the shared functions call: within the network.
curl() { docker exec "$client" curl "$@"; }

verify_protection() {
  local id
  holds "without a key the response is 401" [ "$(CURL=("${CURL[@]:0:4}") && send http first)" = 401 ]
  for service in logger listener broker; do
    id=$(container "$service")
    holds "$service runs as user 10001" [ "$(user_of "$id")" = 10001 ]
    holds "$service has a read-only root, and no capability" is_confined "$id"
    holds "$service is healthy" within 30 is_healthy "$id"
  done
}

# Replaces the tasks of a service under load.
update() {
  local report load began
  coproc LOAD {
    exec docker exec --interactive "$client" \
      python3 /load.py "$URL" --ca /run/secrets/ca --connect-to tasks.broker --key "$key" 2>&1
  }
  load=$LOAD_PID
  exec {feed}>&"${LOAD[1]}" {output}<&"${LOAD[0]}"
  # Its own ends would keep it running.
  eval "exec ${LOAD[1]}>&-"
  sleep 3
  began=$(now_ms)
  docker service update --quiet --detach=false --image fourwire-test:next --no-resolve-image "${STACK}_$1" >/dev/null
  echo "  $1 updated in $(($(now_ms) - began)) ms under load"
  sleep 3
  exec {feed}>&-
  report=$(cat <&"$output")
  wait "$load"
  python3 - "$1" "$report" <<'PYTHON' || exit 1
import json, sys
service, report = sys.argv[1], json.loads(sys.argv[2])
wrong = []
for transport, of in report.items():
    print(f"    {transport:8} {of['outcomes']}, lost {of['lost']}, longest gap {of['longest_gap_ms']} ms")
    refused = {what: n for what, n in of["outcomes"].items() if what not in ("202", "sent again")}
    # A logger of one file cannot be in two places: what goes to it directly is refused while it moves, or cut off.
    moved = {"503 unavailable", "503 draining", "504 outcome_unknown"}
    allowed = moved if service == "logger" and transport != "rabbitmq" else set()
    if of["lost"] or set(refused) - allowed:
        wrong.append(transport)
print(f"  {'FAILED' if wrong else 'ok'}: the update of the {service}: nothing lost" +
      (", nothing over rabbitmq refused" if service == "logger" else ", refused or unknown") + f" {wrong or ''}")
sys.exit(bool(wrong))
PYTHON
}

# One of the containers of a service.
container() { docker ps --quiet --filter "label=com.docker.swarm.service.name=${STACK}_$1" | head -n 1 | grep .; }

clean_up() {
  local status=$? service
  if [[ -n ${swarm:-} ]]; then
    if ((status != 0)); then
      docker stack ps --no-trunc "$STACK" >&2 || true
      for service in broker logger listener rabbitmq; do
        docker service logs --raw --tail 5 "${STACK}_$service" >&2 2>&1 || true
      done
    fi
    docker stack rm "$STACK" >/dev/null 2>&1 || true
    within 60 is_gone || true
    docker volume rm "${STACK}_logs" "${STACK}_rabbitmq" >/dev/null 2>&1 || true
    deploy/swarm.sh forget || true
    docker swarm leave --force >/dev/null
  fi
  rm -rf "$work"
}

is_gone() { [[ -z $(docker ps --all --quiet --filter "label=com.docker.stack.namespace=$STACK") ]]; }

main "$@"
