#!/usr/bin/env bash
# `make shop`: Fourwire, if it does not run yet, and the five services of the shop, until Ctrl-C. Each of the five is
# started again 3 s after it dies. Every setting may be given in the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

READY_TIMEOUT_S=900 # the first build is among it
RESTART_S=3
SERVICES=(user product payment order front)
PROFILE=${PROFILE:-quick}
BINARY=${CARGO_TARGET_DIR:-target}/$PROFILE/shop
BROKER=${BROKER_HTTP_LISTEN:-127.0.0.1:8080}
FRONT=${SHOP_FRONT_LISTEN:-127.0.0.1:8090}
export BROKER_URL=${BROKER_URL:-http://$BROKER}
export SHOP_FAULTS=${SHOP_FAULTS:-on}

pids=() fourwire=

main() {
  trap stop_all EXIT
  trap 'exit 0' INT TERM HUP
  # In a process group of its own: Ctrl-C stops the shop first, and then what it logs to.
  in_own_group deploy/run.sh
  fourwire=$!
  await "$BROKER" "$fourwire"
  # With --workspace, so that cargo builds with the features that the others have.
  cargo build --profile "$PROFILE" --locked --workspace --bin shop
  mkdir -p .run
  for service in "${SERVICES[@]}"; do
    in_own_group keep "$service"
    pids+=("$!")
  done
  await "$FRONT" "${pids[-1]}"
  cat <<TEXT

The shop is open: http://${FRONT/127.0.0.1/localhost}/

Its logs are in .run/shop-*.log, its tables in ${SHOP_DATA_DIR:-data/shop}. Ctrl-C stops everything.

TEXT
  # A trap runs between two waits; whatever the shop needs is kept by its own.
  while true; do pause 3600; done
}

# Runs a service, again and again, for as long as this script runs.
keep() {
  local child=
  trap 'kill -TERM "$child" 2>/dev/null; wait "$child"; exit 0' TERM
  while is_running $$; do
    "$BINARY" "$1" >>".run/shop-$1.log" 2>&1 &
    child=$!
    wait "$child" || true
    echo "The service $1 has ended; it is started again in $RESTART_S s."
    pause "$RESTART_S"
  done
}

await() {
  local deadline=$((SECONDS + READY_TIMEOUT_S))
  until curl --silent --fail --max-time 2 --output /dev/null "http://$1/readyz"; do
    # A Fourwire that ran already is told by its script's end, and answers.
    is_running "$2" || curl --silent --fail --max-time 2 --output /dev/null "http://$1/readyz" ||
      die "What should serve at $1 has stopped; its messages above, or .run/shop-*.log, say why."
    ((SECONDS < deadline)) || die "Nothing serves at $1 after $READY_TIMEOUT_S s."
    pause 0.2
  done
}

stop_all() {
  trap '' INT TERM HUP PIPE
  set +e
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  [[ -z $fourwire ]] || { kill -TERM "$fourwire" 2>/dev/null; wait "$fourwire" 2>/dev/null; }
}

# Without job control bash would let it ignore SIGINT.
in_own_group() {
  set -m
  "$@" </dev/null &
  set +m
}

is_running() { [[ -e /proc/$1/exe ]]; }

# Sleeps so that a signal is answered at once.
pause() {
  sleep "$1" &
  wait $! || true
}

die() {
  echo "$*" >&2
  exit 1
}

main
