# What the scripts share that install Debian's packages, build images, and start services and servers of their own. A
# script sources this. For a package it sets SELF, its own path, and has the functions `package_bin` (its programs are
# there) and `install_package_as_root`; for a server of a run `drop_server`, which ends it and removes what it holds.

# --- Packages ---------------------------------------------------------------------------------

# Installs the script's package, if it is missing and that is permitted.
install_package() {
  ! package_bin >/dev/null || return 0
  command -v apt-get >/dev/null || return 1
  if ((EUID == 0)); then
    install_package_as_root
  else
    sudo -n true 2>/dev/null && sudo -n bash "$SELF" install
  fi
}

# Installs a package without starting its services, which are given as a pattern of `case`: they would take their ports
# now and at every boot. In a subshell, for its traps.
install_without_starting() (
  package=$1
  services=$2
  # An interrupted dpkg leaves the machine's packages half configured.
  trap '' INT TERM HUP
  policy=/usr/sbin/policy-rc.d
  say "Installing Debian's $package; this takes about a minute…"
  # A policy that is already there stays: it is the administrator's word.
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    deny_service_starts "$services" >"$policy"
    chmod 755 "$policy"
  fi
  if ! output=$(apt_install "$package" 2>&1); then
    say "$output"
    exit 1
  fi
  update-rc.d "$package" disable >/dev/null 2>&1 || true
)

# Left behind by a crash, the policy denies nothing: it holds only while this script runs.
deny_service_starts() {
  cat <<POLICY
#!/bin/sh
kill -0 $$ 2>/dev/null || exit 0
case \$1 in $1) exit 101 ;; esac
POLICY
}

apt_get() {
  # needrestart, where there is one, must not restart the machine's own services for this.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --quiet=2 --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=20 -o Acquire::Retries=1 "$@" </dev/null
}

# Installs packages, with newer lists where the ones that are there do not do.
apt_install() { apt_get install "$@" || { apt_get update && apt_get install "$@"; }; }

# --- Images -----------------------------------------------------------------------------------

# Builds an image: its name, and what docker wants besides.
build_image() {
  local output
  say "Making $1…"
  output=$(docker build --quiet --tag "$@" 2>&1) || die "$output"
}

# --- A server that is there for one command ---------------------------------------------------

# From now on the server is dropped when this script ends, in whatever way.
drop_server_at_end() {
  trap drop_guarded_server EXIT
  trap 'interrupt 130' INT
  trap 'interrupt 143' TERM HUP
  guard drop_server
}

drop_guarded_server() {
  trap '' INT TERM HUP
  unguard
  drop_server
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

# Runs a command beside the server, and ends with its status.
run_beside_server() {
  # In the background, since bash answers no signal while it waits for a foreground command.
  in_own_group "$@"
  test_command=$!
  local status=0
  wait "$test_command" || status=$?
  exit "$status"
}

# Obeys until stdin ends, and so until the process that gives the orders is gone in whatever way: one order a line, its
# words separated by tabs, each answered with "ok" or "failed".
obey_orders() {
  local order
  while IFS=$'\t' read -r -a order; do
    if obey_order "${order[@]}" >&2; then echo ok; else echo failed; fi
  done || true
}

# --- Processes --------------------------------------------------------------------------------

guard='' napping=''

# Starts a background command in a process group of its own, with SIGINT as it should be: without
# job control bash lets it be ignored.
in_own_group() {
  set -m
  "$@" </dev/null &
  set +m
}

# Nothing can be trapped at a SIGKILL, so somebody else has to tidy up after it: the guard calls this function once this
# script is gone. It knows what the script knows now; a new one takes the place of the one before.
guard() {
  unguard
  in_own_group act_after_death "$1"
  guard=$!
  disown "$guard"
}

unguard() {
  [[ -z $guard ]] || kill -KILL -- "-$guard" 2>/dev/null || true
  guard=''
}

act_after_death() {
  trap '' INT TERM HUP PIPE
  trap - EXIT
  while is_running $$; do sleep 1; done
  guard='' napping=''
  "$1"
}

# Unlike kill -0, it does not take for running what has ended and waits to be reaped.
is_running() { [[ -e /proc/$1/exe ]]; }

# Sleeps so that a signal is answered at once; whoever answers it may end the sleep.
pause() {
  sleep "$1" &
  napping=$!
  wait "$napping" || true
  napping=''
}

signal_all() {
  local signal=$1
  # shellcheck disable=SC2086 # one word per process id
  [[ -z $2 ]] || kill -"$signal" $2 2>/dev/null || true
}

# --- Small things -----------------------------------------------------------------------------

# Whether nobody listens on any of these ports.
ports_are_free() {
  local port
  for port; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 1
  done
}

say() { echo "$*" >&2 || true; }

die() {
  say "$@"
  exit 1
}
