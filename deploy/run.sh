#!/usr/bin/env bash
# `make run`: RabbitMQ, logger, listener and broker, with their logs in this terminal until Ctrl-C.
# Every setting of the services may be given in the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/lib.sh
source deploy/lib.sh

READY_TIMEOUT_S=30
# The profile to build with: `quick` compiles in minutes and is not for measuring, `release` is what is measured.
PROFILE=${PROFILE:-quick}
# Where cargo puts what it builds.
BINARIES=${CARGO_TARGET_DIR:-target}/$PROFILE
# Above the time that a service gives itself to drain.
STOP_TIMEOUT_S=15

export BROKER_HTTP_LISTEN=${BROKER_HTTP_LISTEN:-127.0.0.1:8080}
export LOGGER_HTTP_LISTEN=${LOGGER_HTTP_LISTEN:-127.0.0.1:8082}
export LOGGER_RPC_LISTEN=${LOGGER_RPC_LISTEN:-127.0.0.1:5002}
export LOGGER_GRPC_LISTEN=${LOGGER_GRPC_LISTEN:-127.0.0.1:50001}
export LOGGER_NETRPC_LISTEN=${LOGGER_NETRPC_LISTEN:-127.0.0.1:5001}
export LISTENER_HTTP_LISTEN=${LISTENER_HTTP_LISTEN:-127.0.0.1:8083}
# What was taken for a large body goes back to the system: see SECURITY.md.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-131072} MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-131072}

declare -A pids=()   # of the services that run, by name
declare -A killed=() # of them, those that were killed on purpose
declare -A key_of=([logger]=l [listener]=i) # what kills it, or starts it again
# Where `fourwire` looks for RabbitMQ.
USUAL_AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f

main() {
  mkdir -p .run && chmod 700 .run # the URL in it may hold a password
  take_lock
  read_amqp_url_file
  rm -f .run/ready
  check_ports
  command -v cargo >/dev/null || die "Fourwire is built with Rust: install it from https://rustup.rs and try again."
  trap stop_all EXIT
  trap 'exit 0' INT TERM HUP

  begin_build # takes the longest, so RabbitMQ is fetched and started meanwhile
  ensure_rabbitmq
  await_build
  if [[ $rabbitmq == slow ]]; then
    echo "Starting RabbitMQ again, now that nothing is built beside it…" >&2
    ensure_rabbitmq
    [[ $rabbitmq != slow ]] || rabbitmq=
  fi
  [[ -n $rabbitmq ]] || echo "Going on without RabbitMQ: http, rpc and grpc work; rabbitmq returns 503." >&2
  check_ports # a service that has come meanwhile would be taken for ours
  export LOGGER_HTTP_URL=${LOGGER_HTTP_URL:-http://$(reachable "$LOGGER_HTTP_LISTEN")}
  export LISTENER_HTTP_URL=${LISTENER_HTTP_URL:-http://$(reachable "$LISTENER_HTTP_LISTEN")}
  export LOGGER_RPC_ADDR=${LOGGER_RPC_ADDR:-$(reachable "$LOGGER_RPC_LISTEN")}
  export LOGGER_GRPC_URL=${LOGGER_GRPC_URL:-http://$(reachable "$LOGGER_GRPC_LISTEN")}
  start logger
  # The others would complain that it is not there yet.
  await_ready logger "$LOGGER_HTTP_LISTEN"
  [[ -z $rabbitmq ]] || start listener
  start broker
  guard stop_all
  [[ -z $rabbitmq ]] || await_ready listener "$LISTENER_HTTP_LISTEN"
  await_ready broker "$BROKER_HTTP_LISTEN"
  touch .run/ready # for scripts that start this one
  print_what_to_try
  await_death
}

# --- Before anything is started ---------------------------------------------------------------

# The lock is file descriptor 9; whatever outlives this script must not inherit it.
take_lock() {
  exec 9>>.run/lock
  flock --nonblock 9 || already_running
}

already_running() {
  echo "Fourwire already runs at http://$(shown "$BROKER_HTTP_LISTEN") or is starting; Ctrl-C in its terminal stops it."
  exit 0
}

check_ports() {
  local setting port taken=0
  ! is_fourwire "$BROKER_HTTP_LISTEN" || already_running
  for setting in BROKER_HTTP_LISTEN LOGGER_HTTP_LISTEN LOGGER_RPC_LISTEN LOGGER_NETRPC_LISTEN LOGGER_GRPC_LISTEN \
    LISTENER_HTTP_LISTEN; do
    if answers "${!setting}"; then
      port=${!setting##*:}
      port=$((port < 55536 ? port + 10000 : port - 10000))
      echo "${!setting} is taken: set $setting to another address, such as $setting=127.0.0.1:$port." >&2
      taken=1
    fi
  done
  ((taken == 0)) || exit 1
}

# The description of its API names it. Another checkout may have been started from there.
is_fourwire() {
  answers "$1" && [[ $(http_get "$1" /openapi.json) =~ [Ff]ourwire ]]
}

# --- Starting ---------------------------------------------------------------------------------

# What AMQP_URL_FILE says is for deploy/rabbitmq.sh too; the services get it as AMQP_URL.
read_amqp_url_file() {
  [[ -n ${AMQP_URL_FILE:-} ]] || return 0
  AMQP_URL=$(<"$AMQP_URL_FILE") || die "AMQP_URL_FILE: $AMQP_URL_FILE cannot be read."
  export AMQP_URL
  unset AMQP_URL_FILE
}

# Sets rabbitmq to "yes" and AMQP_URL to where it is, or rabbitmq to "slow" if it did not answer in time, or to nothing.
ensure_rabbitmq() {
  local status=0
  rabbitmq=
  # It may be given as AMQP_URL_FILE, which nobody else may read.
  touch .run/amqp_url && chmod 600 .run/amqp_url
  step deploy/rabbitmq.sh ensure >.run/amqp_url || status=$?
  case $status in
    0)
      rabbitmq=yes
      AMQP_URL=$(tail -n 1 .run/amqp_url)
      export AMQP_URL
      ;;
    4) rabbitmq=slow ;;
    *) ;;
  esac
}

# The services and the command, and nothing else that the workspace has.
begin_build() {
  [[ -x $BINARIES/broker ]] || echo "Building with the profile $PROFILE; the first time takes some minutes…"
  in_own_group cargo build --profile "$PROFILE" --locked --bin broker --bin logger --bin listener --bin fourwire 9>&-
  build=$!
}

await_build() {
  wait "$build" || { build= && die "The build failed."; }
  build=
}

# Runs a command that can be interrupted: bash answers no signal while it waits for a foreground one.
step() {
  in_own_group "$@" 9>&-
  current_step=$!
  local status=0
  wait "$current_step" || status=$?
  current_step=
  return "$status"
}

# In a process group of its own: Ctrl-C goes to a whole group, and the broker has to stop first.
start() {
  in_own_group serve "$1" 9>&-
  pids[$1]=$!
}

serve() { exec "$BINARIES/$1" > >(label "$1") 2>&1; }

# Puts the service's name before each line of its log.
label() {
  local colour='' plain=''
  # Ends with its input, not with Ctrl-C, so that the last lines are shown too.
  trap '' INT TERM HUP PIPE
  if [[ $on_terminal == yes ]]; then
    case $1 in broker) colour=$'\e[36m' ;; logger) colour=$'\e[32m' ;; *) colour=$'\e[35m' ;; esac
    plain=$'\e[0m'
  fi
  exec sed -u "s/^/$colour$(printf '%-8s |' "$1")$plain /"
}

await_ready() {
  local name=$1 deadline=$((SECONDS + READY_TIMEOUT_S))
  until [[ $(http_get "$2" /readyz) == HTTP/*\ 200* ]]; do
    alive "$name" || die "The $name stopped while it was starting; its log above says why."
    ((SECONDS < deadline)) || die "The $name was not ready within $READY_TIMEOUT_S s."
    pause 0.1
  done
  # Was it ours? One that cannot have its port ends at once.
  pause 0.2
  alive "$name" || die "Something else answers at $2: the $name stopped while it was starting; its log above says why."
}

print_what_to_try() {
  local broker transport key='' listener='not started, since there is no RabbitMQ'
  broker=$(shown "$BROKER_HTTP_LISTEN")
  [[ -z $rabbitmq ]] || listener=http://$(shown "$LISTENER_HTTP_LISTEN")
  # shellcheck disable=SC2016 # the caller's shell expands it
  [[ -z ${BROKER_KEYS_FILE:-} ]] || key='-H "Authorization: Bearer $KEY" '
  cat <<TEXT

Fourwire is ready.

  broker     http://$broker    (the page: open it in a browser)
  logger     http $(shown "$LOGGER_HTTP_LISTEN"), rpc $(shown "$LOGGER_RPC_LISTEN"), grpc $(shown "$LOGGER_GRPC_LISTEN"),
             net/rpc $(shown "$LOGGER_NETRPC_LISTEN") (for Go)
  listener   $listener

The command is $BINARIES/fourwire: see \`$BINARIES/fourwire --help\`.$(print_where_it_is)

Send an entry over each transport, and read them back:

TEXT
  for transport in http rpc ${rabbitmq:+rabbitmq} grpc; do
    echo "  curl $key-d '{\"action\":\"log\",\"transport\":\"$transport\",\"log\":{\"name\":\"event\",\"data\":\"hello\"}}' $broker/handle"
  done
  printf "  curl %s'%s/logs?limit=4'\n\n" "$key" "$broker"
  if [[ $keys == yes ]]; then
    printf "Keys: l kills the logger, or starts it again"
    [[ -z $rabbitmq ]] || printf "; i does so with the listener"
    printf '. Watch the page meanwhile.\n\n'
  fi
  printf 'Ctrl-C stops everything.\n\n'
}

# What `fourwire` and `make demo` have to be told, if it is not at the usual addresses.
print_where_it_is() {
  local usual="http://127.0.0.1:8082 127.0.0.1:5002 http://127.0.0.1:50001 127.0.0.1:8080"
  [[ "$LOGGER_HTTP_URL $LOGGER_RPC_ADDR $LOGGER_GRPC_URL $(reachable "$BROKER_HTTP_LISTEN")" != "$usual" ||
    ${AMQP_URL:-$USUAL_AMQP_URL} != "$USUAL_AMQP_URL" ]] || return 0
  cat <<TEXT
 For it and
\`make demo\` in another terminal:

  export LOGGER_HTTP_URL=$LOGGER_HTTP_URL LOGGER_RPC_ADDR=$LOGGER_RPC_ADDR LOGGER_GRPC_URL=$LOGGER_GRPC_URL \\
    AMQP_URL_FILE=$PWD/.run/amqp_url BROKER_HTTP_LISTEN=$(reachable "$BROKER_HTTP_LISTEN")
TEXT
}

# --- Running and stopping ---------------------------------------------------------------------

await_death() {
  local name key
  while true; do
    if [[ $keys == yes ]]; then
      # Ends by itself now and then, to look whether all are alive.
      key=
      IFS= read -rsn 1 -t 0.5 key || true
      obey "$key"
    else
      wait -n "${pids[@]}" || true
    fi
    for name in "${!pids[@]}"; do
      [[ -n ${killed[$name]:-} ]] || alive "$name" || was_killed "$name" ||
        die "The $name has stopped by itself; stopping the others."
    done
  done
}

# Whether somebody has killed it as a key would, from another terminal.
was_killed() {
  local status=0
  [[ $keys == yes && $1 != broker ]] || return 1
  wait "${pids[$1]}" 2>/dev/null || status=$?
  ((status == 128 + 9)) || return 1
  killed[$1]=yes
  echo "The $1 was killed (kill -9); the key ${key_of[$1]} starts it again."
}

# What a key does: the experiments of "Break it", without other terminals.
obey() {
  local name
  for name in "${!key_of[@]}"; do
    [[ $1 != "${key_of[$name]}" || -z ${pids[$name]:-} ]] || kill_or_start "$name"
  done
}

kill_or_start() {
  if [[ -n ${killed[$1]:-} ]]; then
    start "$1"
    unset "killed[$1]"
    # The one before knows the process that was killed.
    guard stop_all
    echo "The $1 is started again."
  else
    killed[$1]=yes
    { kill -KILL "${pids[$1]}" && wait "${pids[$1]}"; } 2>/dev/null || true
    echo "The $1 is killed (kill -9); the same key starts it again."
  fi
}

# Senders stop before receivers: nothing that was accepted is left on the way.
stop_all() {
  local name
  trap '' INT TERM HUP PIPE
  rm -f .run/ready
  set +e # the terminal, or what the output is piped into, may be gone
  local begun
  for begun in ${current_step:-} ${build:-}; do
    kill -TERM -- "-$begun" 2>/dev/null
    wait "$begun"
  done
  for name in broker listener logger; do
    [[ -z ${pids[$name]:-} ]] || stop "$name"
  done
  deploy/rabbitmq.sh stop 9>&-
  unguard
}

stop() {
  local pid=${pids[$1]} deadline=$((SECONDS + STOP_TIMEOUT_S))
  ! alive "$1" || echo "Stopping the $1…"
  kill -TERM "$pid" 2>/dev/null
  while alive "$1" && ((SECONDS < deadline)); do sleep 0.05; done
  # The process that labels its log is in the group too, and has a moment to show the last lines.
  for _ in {1..20}; do
    kill -0 -- "-$pid" 2>/dev/null || return
    sleep 0.05
  done
  ! alive "$1" || echo "The $1 did not stop within $STOP_TIMEOUT_S s, so it is killed."
  { kill -KILL -- "-$pid"; wait "$pid"; } 2>/dev/null
}

# --- Small things -----------------------------------------------------------------------------

alive() { is_running "${pids[$1]}"; }

answers() (exec 3<>"$(device "$1")") 2>/dev/null

# Prints the status line and what else comes within a moment; nothing if nobody answers.
http_get() {
  # shellcheck disable=SC2016 # expanded by the inner bash
  timeout 2 bash -c '
    exec 3<>"$0"
    printf "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" "$1" >&3
    head -c 4096 <&3 | tr -d "\0"
  ' "$(device "$1")" "$2" 2>/dev/null || true
}

# bash's name for the TCP connection to an address.
device() {
  local address
  address=$(reachable "$1" | tr -d '[]')
  echo "/dev/tcp/${address%:*}/${address##*:}"
}

# The address to connect to for one to listen on: the unspecified ones are no destination.
reachable() {
  case $1 in
    0.0.0.0:*) echo "127.0.0.1:${1##*:}" ;;
    '[::]:'*) echo "[::1]:${1##*:}" ;;
    *) echo "$1" ;;
  esac
}

shown() { reachable "$1" | sed 's/^127\.0\.0\.1:/localhost:/'; }

on_terminal=no
[[ ! -t 1 ]] || on_terminal=yes
# Keys are read where somebody can press them.
keys=no
[[ $on_terminal == no || ! -t 0 ]] || keys=yes
main
