#!/usr/bin/env bash
# A PostgreSQL to test against.
#
#   with-test-server COMMAND…   runs COMMAND beside a private server that is gone afterwards
#   install                     installs Debian's package, without starting its service
#
# The server has its data in .run, a port below those that the system hands out, and a password of its own;
# COMMAND finds its URL in FOURWIRE_TEST_POSTGRES. Started as root, it runs as the user `postgres` of the package.
set -euo pipefail

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/$(basename "${BASH_SOURCE[0]}")
ROOT=$(dirname "$(dirname "$SELF")")
RUN_DIR=$ROOT/.run

# A busy machine that is compiling at the same time needs a multiple of the usual second.
START_TIMEOUT_S=60

main() {
  local command=${1:-help}
  (($# == 0)) || shift
  case $command in
    with-test-server) with_test_server "$@" ;;
    install) install_package ;;
    obey) obey ;; # for the tests' harness
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$SELF" >&2; exit 2 ;;
  esac
}

# Runs a command with the URL of a server of its own, and returns the command's status.
with_test_server() {
  (($#)) || die "with-test-server needs a command to run."
  # A machine without Debian's package can bring its own PostgreSQL.
  if [[ -n ${FOURWIRE_TEST_POSTGRES:-} ]]; then
    exec "$@"
  fi
  install_package || die "The tests need PostgreSQL: install it with 'sudo deploy/postgres.sh install' and try again."
  claim_directory
  trap drop_server EXIT
  trap 'interrupt 130' INT
  trap 'interrupt 143' TERM HUP
  guard_server
  make_server || die "The server for the tests could not be made."
  launch_server
  await_server || die "The server for the tests did not start."
  export FOURWIRE_TEST_POSTGRES=$server_url
  # In the background, since bash answers no signal while it waits for a foreground command.
  in_own_group "$@" </dev/null
  test_command=$!
  local status=0
  wait "$test_command" || status=$?
  exit "$status"
}

# --- A server ---------------------------------------------------------------------------------

# Sets server_dir, server_port and server_url. Below 32768, since the system hands out the ports above as local
# ones of connections. mkdir lets only one run have a directory, and with it the port in its name.
claim_directory() {
  local parent=$RUN_DIR
  mkdir -p "$parent"
  # The user that it runs as may have no way to where this is.
  as_server test -x "$parent" || parent=$(cd "${TMPDIR:-/tmp}" && pwd -P)
  while true; do
    server_port=$((14000 + RANDOM % 6000))
    server_dir=$parent/postgres-$server_port
    port_is_free "$server_port" && mkdir -m 755 "$server_dir" 2>/dev/null && break
    [[ -w $parent ]] || die "Cannot write to $parent."
  done
  ((EUID != 0)) || chown postgres: "$server_dir"
  server_password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  server_url=postgres://fourwire:$server_password@127.0.0.1:$server_port/fourwire
}

# Makes the files of a server, and its database.
make_server() {
  local log=$server_dir/initdb.log
  (umask 077 && echo "$server_password" >"$server_dir/password")
  ((EUID != 0)) || chown postgres: "$server_dir/password"
  # The encoding in so many words: by default it is that of the caller's locale.
  as_server "$(package_bin)/initdb" --pgdata="$server_dir/data" --username=fourwire --pwfile="$server_dir/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C >"$log" 2>&1 || { cat "$log" >&2; return 1; }
  # Small, since a test may have several; fsync and synchronous_commit are as they are by default: on. The log says who
  # did what, but not what was sent.
  as_server tee -a "$server_dir/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $server_port
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
max_wal_size = 512MB
log_min_messages = warning
CONF
  # The database of the URL.
  as_server "$(package_bin)/postgres" --single -D "$server_dir/data" postgres >>"$log" 2>&1 \
    <<<"CREATE DATABASE fourwire" || { cat "$log" >&2; return 1; }
}

# Gives it a certificate and its key, and turns TLS on from its next start.
certify_server() {
  mkdir -p "$server_dir/certs"
  cp "$1" "$server_dir/certs/server.pem"
  (umask 077 && cp "$2" "$server_dir/certs/server.key")
  ((EUID != 0)) || chown -R postgres: "$server_dir/certs"
  as_server tee -a "$server_dir/data/postgresql.conf" >/dev/null <<CONF
ssl = on
ssl_cert_file = '$server_dir/certs/server.pem'
ssl_key_file = '$server_dir/certs/server.key'
CONF
}

# Starts it, with more settings as arguments; does not wait for it.
launch_server() {
  # In a session of its own: a Ctrl-C at the terminal is not for the server. From an empty environment, so that no
  # PG* of the user's own leaks in.
  setsid "${as_server[@]}" env -i "PATH=$PATH" LANG=C "$(package_bin)/postgres" -D "$server_dir/data" "$@" \
    </dev/null >>"$server_dir/start.log" 2>&1 &
  server_pid=$!
  disown "$server_pid" # else bash reports how it ended
}

await_server() {
  local deadline=$((SECONDS + START_TIMEOUT_S))
  until "$(package_bin)/pg_isready" --quiet --host=127.0.0.1 --port="$server_port"; do
    if ! kill -0 "$server_pid" 2>/dev/null || ((SECONDS >= deadline)); then
      say "PostgreSQL did not start:"
      tail -n 20 "$server_dir/start.log" >&2
      return 1
    fi
    sleep 0.05
  done
}

# The postmaster of a directory, and those that it has started; they are known by their working directory.
server_pids() {
  find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/data" 2>/dev/null | cut -d/ -f3 || true
}

# Kills the postmaster as `kill -9` does, and waits until its children have noticed.
kill_server() {
  local pids
  kill -KILL "$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)" 2>/dev/null || true
  while pids=$(server_pids "$1"); [[ -n $pids ]]; do
    ((${2:-1})) || signal_all KILL "$pids"
    sleep 0.02
  done
}

signal_all() {
  local signal=$1
  # shellcheck disable=SC2086 # one word per process id
  [[ -z $2 ]] || kill -"$signal" $2 2>/dev/null || true
}

# --- The server for all tests -----------------------------------------------------------------

# Nothing can be trapped at a SIGKILL, so somebody else has to tidy up after it.
guard_server() {
  in_own_group watch_and_drop
  test_guard=$!
  disown "$test_guard"
}

watch_and_drop() {
  trap '' INT TERM HUP
  # Unlike kill -0, this does not take for running what has ended and waits to be reaped.
  while [[ -e /proc/$$/exe ]]; do sleep 1; done
  kill_server "$server_dir" 0
  rm -rf "$server_dir"
}

drop_server() {
  trap '' INT TERM HUP
  kill -KILL -- "-$test_guard" 2>/dev/null || true
  # What it holds is thrown away: no need to let it shut down in order.
  kill_server "$server_dir" 0
  rm -rf "$server_dir"
}

interrupt() {
  local deadline=$((SECONDS + 10))
  trap '' INT TERM HUP
  if [[ -n ${test_command:-} ]]; then
    kill -TERM -- "-$test_command" 2>/dev/null || true
    while kill -0 -- "-$test_command" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
  fi
  exit "$1"
}

# --- A server that a test breaks --------------------------------------------------------------

# Makes a server, prints its directory and its URL, and obeys: one order a line on stdin, each answered with "ok" or
# "failed". When stdin ends, and so when whoever gave the orders is gone in whatever way, the server is ended.
obey() {
  local order
  package_bin >/dev/null ||
    die "This test breaks a PostgreSQL of its own: it needs Debian's package, 'sudo deploy/postgres.sh install'."
  # Nothing but the end of stdin ends it. Not '', which the server would inherit.
  trap : INT TERM HUP PIPE
  claim_directory
  make_server
  echo "$server_dir $server_url"
  while read -r -a order; do
    if obey_order "${order[@]}" >&2; then echo ok; else echo failed; fi
  done || true
  kill_server "$server_dir" 0
  rm -rf "$server_dir"
}

obey_order() {
  case $1 in
    launch) launch_server "${@:2}" ;;
    await) await_server ;;
    certify) certify_server "$2" "$3" ;;
    kill) kill_server "$server_dir" ;;
    stop) "${as_server[@]}" "$(package_bin)/pg_ctl" --pgdata="$server_dir/data" --mode=fast --silent stop ;;
    freeze) signal_all STOP "$(server_pids "$server_dir")" ;;
    thaw) signal_all CONT "$(server_pids "$server_dir")" ;;
    *) return 1 ;;
  esac
}

# --- The package ------------------------------------------------------------------------------

# The newest that is installed.
package_bin() {
  local bins
  bins=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
  [[ -x $bins ]] && dirname "$bins"
}

install_package() {
  ! package_bin >/dev/null || return 0
  command -v apt-get >/dev/null || return 1
  if ((EUID == 0)); then
    install_package_as_root
  else
    sudo -n true 2>/dev/null && sudo -n bash "$SELF" install
  fi
}

# In a subshell, for its traps.
install_package_as_root() (
  # An interrupted dpkg leaves the machine's packages half configured.
  trap '' INT TERM HUP
  policy=/usr/sbin/policy-rc.d
  say "Installing Debian's postgresql; this takes about a minute…"
  # The service would take port 5432 now and at every boot. A policy that is already there stays:
  # it is the administrator's word.
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    deny_service_starts >"$policy"
    chmod 755 "$policy"
  fi
  if ! output=$( { apt_get install postgresql || { apt_get update && apt_get install postgresql; }; } 2>&1); then
    say "$output"
    exit 1
  fi
  update-rc.d postgresql disable >/dev/null 2>&1 || true
)

# Left behind by a crash, the policy denies nothing: it holds only while this script runs.
deny_service_starts() {
  cat <<POLICY
#!/bin/sh
kill -0 $$ 2>/dev/null || exit 0
case \$1 in postgresql*) exit 101 ;; esac
POLICY
}

apt_get() {
  # needrestart, where there is one, must not restart the machine's own services for this.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --quiet=2 --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=20 -o Acquire::Retries=1 "$@" </dev/null
}

# --- Small things -----------------------------------------------------------------------------

# PostgreSQL does not run as root.
as_server=()
((EUID != 0)) || as_server=(setpriv --reuid=postgres --regid=postgres --init-groups)

as_server() { "${as_server[@]}" "$@"; }

# Starts a background command in a process group of its own, with SIGINT as it should be: without
# job control bash lets it be ignored.
in_own_group() {
  set -m
  "$@" &
  set +m
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

say() { echo "$*" >&2 || true; }

die() {
  say "$@"
  exit 1
}

main "$@"
