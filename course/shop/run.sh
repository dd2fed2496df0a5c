#!/usr/bin/env bash
# `make shop`: Fourwire, if it does not run yet, and the five services of the shop, until Ctrl-C. Each of the five is
# started again 3 s after it dies. Every setting may be given in the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/lib.sh
source deploy/lib.sh

READY_TIMEOUT_S=60 # nothing is built meanwhile
RESTART_S=3
SERVICES=(user product payment order front)
PROFILE=${PROFILE:-quick}
BINARY=${CARGO_TARGET_DIR:-target}/$PROFILE/shop
BROKER=${BROKER_HTTP_LISTEN:-127.0.0.1:8080}
FRONT=${SHOP_FRONT_LISTEN:-127.0.0.1:8090}
export BROKER_URL=${BROKER_URL:-http://$BROKER}
export SHOP_FAULTS=${SHOP_FAULTS:-on}

pids=() fourwire=''

main() {
  ! answers "$FRONT" ||
    die "$FRONT is taken, perhaps by another shop: set SHOP_FRONT_LISTEN to another address, such as 127.0.0.1:18090."
  mkdir -p .run
  trap stop_all EXIT
  trap 'exit 0' INT TERM HUP
  rm -f .run/ready
  # In a process group of its own: Ctrl-C stops the shop first, and then what it logs to.
  in_own_group deploy/run.sh
  fourwire=$!
  guard stop_all
  await_fourwire
  # With --workspace, so that cargo builds with the features that the others have.
  cargo build --profile "$PROFILE" --locked --workspace --bin shop
  if [[ -z $fourwire ]]; then
    await "$BROKER" $$
    echo "Using the Fourwire that already runs at http://$(shown "$BROKER")"
  fi
  for service in "${SERVICES[@]}"; do
    in_own_group keep "$service"
    pids+=("$!")
  done
  # Of the five the one before does not know.
  guard stop_all
  await "$FRONT" "${pids[-1]}"
  cat <<TEXT

The shop is open: http://$(shown "$FRONT")/

Its logs are in .run/shop-*.log, its tables in ${SHOP_DATA_DIR:-data/shop}. Ctrl-C stops everything.

TEXT
  # Ends with a signal alone.
  wait "${pids[@]}"
}

# Returns when it is ready, or with an empty `fourwire` if another runs, which deploy/run.sh says with a success. Another
# broker may answer at the same address, so that is not asked.
await_fourwire() {
  until [[ -e .run/ready ]]; do
    if ! is_running "$fourwire"; then
      wait "$fourwire" || { fourwire='' && die "Fourwire did not start; its messages above say why."; }
      fourwire=''
      return
    fi
    pause 0.1
  done
}

# Runs a service, again and again, for as long as this script runs.
keep() {
  local child='' log=.run/shop-$1.log from=''
  trap 'kill -TERM $child $napping 2>/dev/null; { [[ -z $child ]] || wait "$child"; } 2>/dev/null; exit 0' TERM
  while is_running $$; do
    [[ -z $from ]] || from=$(wc -c <"$log")
    "$BINARY" "$1" >>"$log" 2>&1 &
    child=$!
    # Of the first start the script itself tells.
    [[ -z $from ]] || tell_when_ready "$1" "$child" "$log" "$from"
    # Without bash's own words for a child that was killed.
    { wait "$child"; } 2>/dev/null || true
    child=''
    echo "The service $1 has ended; it is started again in $RESTART_S s."
    from=0
    pause "$RESTART_S"
  done
}

tell_when_ready() {
  until tail -c "+$(($4 + 1))" "$3" | grep -q 'shop ready'; do
    is_running "$2" || return 0
    pause 0.1
  done
  echo "The service $1 is up again."
}

# Waits until what serves at an address is ready, and no longer than the process lives that is to be it.
await() {
  local deadline=$((SECONDS + READY_TIMEOUT_S))
  until curl --silent --fail --max-time 2 --output /dev/null "http://$1/readyz"; do
    is_running "$2" || die "What should serve at $1 has stopped; .run/shop-*.log say why."
    ((SECONDS < deadline)) || die "Nothing is ready at $1 after $READY_TIMEOUT_S s; .run/shop-*.log may say why."
    pause 0.2
  done
}

stop_all() {
  trap '' INT TERM HUP PIPE
  set +e
  local pid
  kill -TERM "$napping" 2>/dev/null
  ((${#pids[@]} == 0)) || echo "Stopping the shop…"
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do await_end "$pid"; done
  [[ -z $fourwire ]] || { kill -TERM "$fourwire" 2>/dev/null; await_end "$fourwire"; }
  unguard
}

# The guard cannot `wait` for what is not its child.
await_end() {
  while is_running "$1"; do sleep 0.05; done
}

answers() { curl --silent --max-time 2 --output /dev/null "http://$1/readyz"; }

shown() { echo "${1/127.0.0.1/localhost}"; }

main
