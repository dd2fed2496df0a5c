# What the tests of containers share. Each is a script that says what it verifies, line by line, and ends with an
# error at the first thing that does not hold.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=deploy/lib.sh
source "$ROOT/deploy/lib.sh"

# Without an engine nothing can be shown, and that is no success.
need_engine() {
  docker version --format '{{.Server.Version}}' >/dev/null 2>&1 && return
  die "NOT RUN: no container engine answers. Install Debian's docker.io, docker-compose and debootstrap," \
    "or start dockerd."
}

# Prints what holds, or what does not, and ends.
holds() {
  local what=$1
  shift
  if "$@"; then
    echo "  ok: $what"
  else
    echo "  FAILED: $what" >&2
    exit 1
  fi
}

# Waits until a command succeeds, for at most $1 seconds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# The milliseconds since the epoch.
now_ms() { date +%s%3N; }

# Sends an entry over a transport, and prints the status.
send() {
  curl "${CURL[@]}" --silent --output /dev/null --write-out '%{http_code}' --max-time 10 \
    -d "{\"action\":\"log\",\"transport\":\"$1\",\"log\":{\"name\":\"$2\",\"data\":\"hello\"}}" "$URL/handle" || true
}

accepts() { [[ $(send "$1" "$2") == 202 ]]; }

# Whether exactly $2 entries have the name $1.
has_stored() {
  local found
  found=$(curl "${CURL[@]}" --silent --max-time 10 "$URL/logs?name=$1&limit=100" | grep -o "\"name\":\"$1\"" | wc -l)
  ((found == $2))
}

pid_of() { docker inspect --format '{{.State.Pid}}' "$1"; }

# The user that the process of a container runs as, as the kernel has it.
user_of() { awk '/^Uid:/ { print $2 }' "/proc/$(pid_of "$1")/status"; }

is_healthy() { [[ $(docker inspect --format '{{.State.Health.Status}}' "$1") == healthy ]]; }

# Whether a container may neither write to its root nor have a capability.
is_confined() {
  local pid
  pid=$(pid_of "$1")
  [[ $(docker inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$1") == true ]] &&
    ! docker exec "$1" sh -c ': >/probe' 2>/dev/null &&
    grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" && grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$pid/status"
}
