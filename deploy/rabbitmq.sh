#!/usr/bin/env bash
# A RabbitMQ to run against, and one to test against.
#
#   ensure                    prints the AMQP URL of a running RabbitMQ, and starts one if none answers
#   stop                      stops what `ensure` started, and nothing else
#   with-test-node COMMAND…   runs COMMAND beside a private node that is gone afterwards
#   install                   installs Debian's package, without starting its service
#
# `ensure` tries in this order: AMQP_URL, a container, a private node from Debian's package. It exits
# with 3 if there is none of them, and with 4 if the node did not answer in time. The URL is the last line of stdout; all
# the rest goes to stderr.
set -euo pipefail

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/$(basename "${BASH_SOURCE[0]}")
# shellcheck source=deploy/lib.sh
source "$(dirname "$SELF")/lib.sh"
RUN_DIR=$(dirname "$(dirname "$SELF")")/.run
# What `ensure` started: "node DIRECTORY" or "container ENGINE NAME".
STARTED=$RUN_DIR/rabbitmq.started

DEFAULT_URL=amqp://guest:guest@127.0.0.1:5672/%2f
IMAGE=docker.io/library/rabbitmq:4-management
# A busy laptop that is compiling at the same time needs a multiple of the usual 8 seconds.
START_TIMEOUT_S=120
PULL_TIMEOUT_S=60

main() {
  local command=${1:-help}
  (($# == 0)) || shift
  case $command in
    ensure) ensure ;;
    stop) stop ;;
    with-test-node) with_test_node "$@" ;;
    install) install_package ;;
    obey) obey ;; # for the tests' harness
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$SELF" >&2; exit 2 ;;
  esac
}

ensure() {
  local url=${AMQP_URL:-$DEFAULT_URL} base
  # Of a list of nodes the first is asked.
  local first=${url%%,amqp*}
  if greets "$first"; then
    echo "$url"
    return
  fi
  say "No RabbitMQ answers at $(address_of "$first")."
  mkdir -p "$RUN_DIR"
  # Interrupted half way, it must not leave a node behind that nobody knows of.
  trap 'trap "" INT TERM HUP; stop; exit 130' INT TERM HUP
  base=$(free_ports_from 5672)
  # A container that cannot be had may have taken a minute: the ports are looked for again.
  if ! start_container "$base" && ! { base=$(free_ports_from 5672) && start_recorded_node "$base"; }; then
    if package_bin >/dev/null; then
      say "Its log is in .run/rabbitmq/log. Or set AMQP_URL to a RabbitMQ that runs."
    else
      say "Install RabbitMQ with 'sudo deploy/rabbitmq.sh install', or set AMQP_URL to one that runs."
    fi
    [[ -z ${too_slow:-} ]] || exit 4
    exit 3
  fi
  say "RabbitMQ is ready at 127.0.0.1:$base; its web page is http://127.0.0.1:$((base + 1)) (guest, guest)."
  echo "amqp://guest:guest@127.0.0.1:$base/%2f"
}

stop() {
  local kind what name
  [[ -f $STARTED ]] || return 0
  read -r kind what name <"$STARTED"
  say "Stopping RabbitMQ…"
  case $kind in
    # Stopped, not removed: the queues are in it.
    container) "$what" stop --time 20 "$name" >/dev/null || true ;;
    node) end_node "$what${name:+ $name}" 20 ;;
  esac
  rm -f "$STARTED"
}

# Runs a command with the address of a node of its own, and returns the command's status.
with_test_node() {
  (($#)) || die "with-test-node needs a command to run."
  # A machine without Debian's package can bring its own RabbitMQ.
  if [[ -n ${FOURWIRE_TEST_AMQP:-} && -n ${FOURWIRE_TEST_RABBITMQ_API:-} ]]; then
    exec "$@"
  fi
  install_package || die "The tests need RabbitMQ: install it with 'sudo deploy/rabbitmq.sh install' and try again."
  claim_test_directory
  drop_server_at_end

  # The harness has some of the certificates as well.
  export FOURWIRE_TEST_CERTS=$test_dir/certs
  cargo run --quiet --locked -p certs -- "$FOURWIRE_TEST_CERTS" >/dev/null || die "The certificates could not be made."
  describe_node "$test_dir" "$test_base"
  node_certs=$FOURWIRE_TEST_CERTS
  start_node || die "The node for the tests did not start."
  export FOURWIRE_TEST_AMQPS=amqps://guest:guest@127.0.0.1:$((test_base + 4))
  export FOURWIRE_TEST_AMQP=amqp://guest:guest@127.0.0.1:$test_base
  export FOURWIRE_TEST_RABBITMQ_API=http://127.0.0.1:$((test_base + 1))/api
  # With the mark of the node, whatever the command leaves running is ended together with the node.
  run_beside_server env FOURWIRE_NODE="$test_dir" "$@"
}

# --- Containers -------------------------------------------------------------------------------

start_container() {
  local base=$1 engine name
  name=fourwire-rabbitmq-$base
  engine=$(container_engine) || return 1
  echo "container $engine $name" >"$STARTED"
  write_container_conf
  # The one of the last run still has its queues. The file is copied and not mounted: a container outlives .run.
  if { "$engine" container inspect "$name" >/dev/null 2>&1 || create_container "$engine" "$name" "$base"; } &&
    timeout 20 "$engine" cp "$RUN_DIR/container.conf" "$name:/etc/rabbitmq/conf.d/90-fourwire.conf" >/dev/null &&
    timeout 20 "$engine" start "$name" >/dev/null && await_container "$engine" "$name" "$base"; then
    return 0
  fi
  timeout 20 "$engine" stop "$name" >/dev/null 2>&1 || true
  rm -f "$STARTED"
  return 1
}

create_container() {
  local engine=$1 name=$2 base=$3 image
  image=$(container_image "$engine") || return 1
  say "Starting $image with $engine…"
  timeout 60 "$engine" create --name "$name" --hostname "$name" --memory 1g \
    --publish "127.0.0.1:$base:5672" --publish "127.0.0.1:$((base + 1)):15672" "$image" >/dev/null
}

# In a container RabbitMQ does not always see its limit of memory, and would be killed where it should take nothing more
# from publishers.
write_container_conf() {
  mkdir -p "$RUN_DIR"
  limits >"$RUN_DIR/container.conf"
  # It runs as another user.
  chmod 644 "$RUN_DIR/container.conf"
}

# The defaults are for a server: 40 % of the memory (60 % from 4.0 on), and a write-ahead log of 512 MB that is kept in
# memory as well. Below the disk limit RabbitMQ takes nothing more from publishers.
limits() {
  cat <<CONF
vm_memory_high_watermark.absolute = 768MB
disk_free_limit.absolute = 256MB
raft.wal_max_size_bytes = 67108864
CONF
}

container_engine() {
  local engine
  for engine in docker podman; do
    if command -v "$engine" >/dev/null && timeout 5 "$engine" info >/dev/null 2>&1; then
      echo "$engine"
      return
    fi
  done
  return 1
}

# Prints an image that is on this machine: ours, else any RabbitMQ, else ours once it is pulled.
container_image() {
  local engine=$1 image
  if ! "$engine" image inspect "$IMAGE" >/dev/null 2>&1; then
    image=$("$engine" images --format '{{.Repository}}:{{.Tag}}' | grep -m1 -E '(^|/library/)rabbitmq:[^<]') &&
      { echo "$image"; return; }
    say "Pulling $IMAGE with $engine (at most $PULL_TIMEOUT_S s)…"
    if ! timeout "$PULL_TIMEOUT_S" "$engine" pull --quiet "$IMAGE" >/dev/null 2>&1; then
      say "The image could not be pulled."
      return 1
    fi
  fi
  echo "$IMAGE"
}

await_container() {
  local engine=$1 name=$2 base=$3 deadline=$((SECONDS + START_TIMEOUT_S))
  # The engine's proxy accepts connections long before RabbitMQ does: only a greeting counts.
  until greets "amqp://127.0.0.1:$base"; do
    [[ $("$engine" inspect --format '{{.State.Running}}' "$name" 2>/dev/null) == true ]] || return 1
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}

# --- Nodes from Debian's package --------------------------------------------------------------

start_recorded_node() {
  local base=$1
  install_package || return 1
  describe_node "$RUN_DIR/rabbitmq" "$base"
  echo "node $node_dir" >"$STARTED"
  say "Starting a RabbitMQ of our own in .run/rabbitmq…"
  start_node && return
  stop
  return 1
}

# Says what a node is: all that it owns is in its directory, and it has the five ports from `base` on.
describe_node() {
  local base=$2
  node_dir=$1
  node_amqp_port=$base
  node_management_port=$((base + 1))
  # From an empty environment, so that no RABBITMQ_* or ERL_* of the user's own node leaks in.
  # FOURWIRE_NODE is the mark by which end_node finds every process of the node.
  node_env=(env -i "PATH=$PATH" LANG=C.UTF-8
    "FOURWIRE_NODE=$node_dir"
    "HOME=$node_dir" # the cookie is made there
    "ERL_EPMD_PORT=$((base + 3))" ERL_EPMD_ADDRESS=127.0.0.1
    "RABBITMQ_NODENAME=fourwire-$(basename "$node_dir")@localhost"
    RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 "RABBITMQ_NODE_PORT=$base"
    "RABBITMQ_DIST_PORT=$((base + 2))"
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
    "ERL_CRASH_DUMP=$node_dir/log/erl_crash.dump" # else one that fails early leaves it here
    "RABBITMQ_MNESIA_BASE=$node_dir/data" "RABBITMQ_LOG_BASE=$node_dir/log"
    "RABBITMQ_ENABLED_PLUGINS_FILE=$node_dir/enabled_plugins"
    "RABBITMQ_CONFIG_FILE=$node_dir/rabbitmq.conf" "RABBITMQ_CONF_ENV_FILE=$node_dir/rabbitmq-env.conf")
}

# Starts the node that describe_node described, and waits until it is ready.
start_node() {
  launch_node
  await_node
}

await_node() {
  local deadline=$((SECONDS + START_TIMEOUT_S))
  until greets "amqp://127.0.0.1:$node_amqp_port"; do
    if ! kill -0 "$node_server" 2>/dev/null; then
      say "RabbitMQ did not start:"
      tail -n 20 "$node_dir/log/start.log" >&2
      return 1
    fi
    if ((SECONDS >= deadline)); then
      too_slow=yes
      say "RabbitMQ did not answer within $START_TIMEOUT_S s: is the machine busy?"
      return 1
    fi
    sleep 0.2
  done
  node_ctl await_startup >/dev/null 2>&1
}

launch_node() {
  write_node_files
  # In a session of its own: a Ctrl-C at the terminal is not for the node.
  setsid "${node_env[@]}" "$(package_bin)/rabbitmq-server" </dev/null >"$node_dir/log/start.log" 2>&1 &
  node_server=$!
  disown "$node_server" # else bash reports how it ended
  # From here on node_pids knows it, so that nothing that ends the node can miss it.
  until [[ -n $(node_pids "$node_dir") ]] || ! kill -0 "$node_server" 2>/dev/null; do sleep 0.01; done
}

node_ctl() { "${node_env[@]}" "$(package_bin)/rabbitmqctl" --timeout 60 "$@" </dev/null; }

write_node_files() {
  mkdir -p "$node_dir/log"
  chmod 700 "$node_dir"
  : >"$node_dir/rabbitmq-env.conf"
  echo "[${node_plugins-rabbitmq_management}]." >"$node_dir/enabled_plugins"
  limits >"$node_dir/rabbitmq.conf"
  cat >>"$node_dir/rabbitmq.conf" <<CONF
management.tcp.ip = 127.0.0.1
management.tcp.port = $node_management_port
CONF
  [[ -z ${node_certs:-} ]] || cat >>"$node_dir/rabbitmq.conf" <<CONF
listeners.ssl.1 = 127.0.0.1:$((node_amqp_port + 4))
ssl_options.cacertfile = $node_certs/ca.pem
ssl_options.certfile = $node_certs/rabbitmq.pem
ssl_options.keyfile = $node_certs/rabbitmq.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
CONF
}

# Ends every process of the node in the directory $1, with force after $2 seconds.
end_node() {
  local dir=$1 deadline=$((SECONDS + $2)) pids
  signal_all TERM "$(node_pids "$dir")"
  while pids=$(node_pids "$dir"); [[ -n $pids ]]; do
    ((SECONDS < deadline)) || signal_all KILL "$pids"
    if ((SECONDS > deadline + 10)); then
      say "These processes of RabbitMQ do not end: ${pids//$'\n'/ }"
      return 1
    fi
    sleep 0.1
  done
}

# The processes of a node, epmd too, carry its mark in their environment. Recorded process ids
# would do only until the machine gives them to somebody else.
node_pids() {
  grep -lzsxF "FOURWIRE_NODE=$1" /proc/[0-9]*/environ | cut -d/ -f3 || true
}

# --- The package ------------------------------------------------------------------------------

# The scripts in /usr/sbin change the user, and with it the limit of open files; these do not.
package_bin() {
  [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] && echo /usr/lib/rabbitmq/bin
}

# In a subshell, for its trap.
install_package_as_root() (
  trap '' INT TERM HUP
  epmd=$(command -v epmd || true)
  install_without_starting rabbitmq-server 'rabbitmq-server* | epmd*'
  [[ -n $epmd ]] || systemctl disable epmd.socket epmd.service >/dev/null 2>&1 || true
)

# --- The node for tests -----------------------------------------------------------------------

# Sets test_dir and test_base. Below 32768, since the system hands out the ports above as local ones
# of connections. mkdir lets only one run have a directory, and with it the five ports from the one in its name.
claim_test_directory() {
  while true; do
    test_base=$((20000 + RANDOM % 2400 * 5))
    test_dir=$(cd "${TMPDIR:-/tmp}" && pwd -P)/fourwire-rabbitmq-$test_base
    node_ports_are_free "$test_base" && mkdir -m 700 "$test_dir" 2>/dev/null && return
    [[ -w $(dirname "$test_dir") ]] || die "Cannot write to $(dirname "$test_dir")."
  done
}

drop_server() {
  # What it holds is thrown away: no need to let it shut down in order.
  end_node "$test_dir" 0 || true
  rm -rf "$test_dir"
}

# --- A node that a test breaks ----------------------------------------------------------------

# Claims a directory for a node, prints it with its first port, and obeys; then every process of the node is ended.
obey() {
  package_bin >/dev/null ||
    die "This test breaks a RabbitMQ of its own: it needs Debian's package, 'sudo deploy/rabbitmq.sh install'."
  # Nothing but the end of stdin ends it. Not '', which the node would inherit.
  trap : INT TERM HUP PIPE
  claim_test_directory
  describe_node "$test_dir" "$test_base"
  node_plugins= # it starts sooner, and stops four times as fast
  echo "$test_dir $test_base"
  obey_orders
  kill_node "$test_dir"
  rm -rf "$test_dir"
}

obey_order() {
  case $1 in
    launch) launch_node ;;
    await) await_node ;;
    kill) kill_node "$node_dir" ;;
    stop) node_ctl shutdown && end_node "$node_dir" 20 ;; # the rest is epmd
    freeze) signal_all STOP "$(node_pids "$node_dir")" ;;
    thaw) signal_all CONT "$(node_pids "$node_dir")" ;;
    ctl) node_ctl "${@:2}" ;;
    *) return 1 ;;
  esac
}

# Unlike end_node, it gives the node no moment to shut down in order.
kill_node() {
  local pids
  while pids=$(node_pids "$1"); [[ -n $pids ]]; do
    signal_all KILL "$pids"
    sleep 0.02
  done
}

# --- Small things -----------------------------------------------------------------------------

# Whether a RabbitMQ that is ready greets at the URL: it answers the protocol header with a frame
# of the type 1. Behind TLS only the port can be seen.
greets() {
  local scheme=${1%%:*} address
  address=$(address_of "$1")
  # shellcheck disable=SC2016 # expanded by the inner bash
  timeout 3 bash -c '
    exec 3<>"/dev/tcp/$1/$2" || exit 1
    [[ $3 == amqp ]] || exit 0
    printf "AMQP\0\0\11\1" >&3
    IFS= read -r -N 1 type <&3 && [[ $type == "$4" ]]
  ' _ "${address%:*}" "${address##*:}" "$scheme" $'\1' 2>/dev/null
}

# The host and port of an AMQP URL, without the password.
address_of() {
  local address=${1#*://}
  address=${address%%[/?]*}
  address=${address##*@}
  [[ $address =~ :[0-9]+$ ]] || case $1 in amqps:*) address+=:5671 ;; *) address+=:5672 ;; esac
  tr -d '[]' <<<"$address"
}

free_ports_from() {
  local base=$1
  until node_ports_are_free "$base"; do base=$((base + 5)); done
  echo "$base"
}

# Whether nobody listens on the five ports from $1 on: AMQP, web page, Erlang distribution, epmd, AMQP over TLS.
node_ports_are_free() { ports_are_free "$1" $(($1 + 1)) $(($1 + 2)) $(($1 + 3)) $(($1 + 4)); }

main "$@"
