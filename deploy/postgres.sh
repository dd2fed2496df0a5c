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
# shellcheck source=deploy/lib.sh
source "$(dirname "$SELF")/lib.sh"
RUN_DIR=$(dirname "$(dirname "$SELF")")/.run

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
  drop_server_at_end
  make_server || die "The server for the tests could not be made."
  launch_server
  await_server || die "The server for the tests did not start."
  export FOURWIRE_TEST_POSTGRES=$server_url
  run_beside_server "$@"
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
    ports_are_free "$server_port" && mkdir -m 755 "$server_dir" 2>/dev/null && break
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
  local pid pids
  pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || true
  # The file outlives a server that was killed, whose number may be another process's by now.
  [[ -z $pid || $'\n'$(server_pids "$1")$'\n' != *$'\n'"$pid"$'\n'* ]] || kill -KILL "$pid" 2>/dev/null || true
  while pids=$(server_pids "$1"); [[ -n $pids ]]; do
    ((${2:-1})) || signal_all KILL "$pids"
    sleep 0.02
  done
}

drop_server() {
  # What it holds is thrown away: no need to let it shut down in order.
  kill_server "$server_dir" 0
  rm -rf "$server_dir"
}

# --- A server that a test breaks --------------------------------------------------------------

# Makes a server, prints its directory and its URL, and obeys: one order a line on stdin, its words separated by tabs,
# each answered with "ok" or "failed". When stdin ends, and so when the one that gave the orders is gone in whatever way,
# the server is ended.
obey() {
  package_bin >/dev/null ||
    die "This test breaks a PostgreSQL of its own: it needs Debian's package, 'sudo deploy/postgres.sh install'."
  # Nothing but the end of stdin ends it. Not '', which the server would inherit.
  trap : INT TERM HUP PIPE
  claim_directory
  make_server
  echo "$server_dir $server_url"
  obey_orders
  drop_server
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

install_package_as_root() { install_without_starting postgresql 'postgresql*'; }

# --- Small things -----------------------------------------------------------------------------

# PostgreSQL does not run as root.
as_server=()
((EUID != 0)) || as_server=(setpriv --reuid=postgres --regid=postgres --init-groups)

as_server() { "${as_server[@]}" "$@"; }

main "$@"
