#!/usr/bin/env bash
# Starts the units of deploy/systemd in a container that runs systemd, beside a RabbitMQ, and verifies that what they deny
# is nothing that the services need. The programs are those of the directory $1 (target/release).
set -euo pipefail
# shellcheck source=tests/containers/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

URL=http://localhost:8080
CURL=()
CONTAINER=fourwire-test-systemd

main() {
  local binaries transport service status
  binaries=$(cd "${1:-$ROOT/target/release}" && pwd -P)
  need_engine
  work=$(mktemp -d)
  trap clean_up EXIT
  cd "$ROOT"
  deploy/docker/offline.sh "$binaries" >"$work/env"
  start_systemd "$binaries"
  for service in logger listener broker; do
    holds "fourwire-$service starts" within 20 run systemctl is-active --quiet "fourwire-$service"
    status=$(run cat "/proc/$(run systemctl show -P MainPID "fourwire-$service")/status")
    holds "$service runs as fourwire" has_lines "Uid:.$(run id -u fourwire)[[:space:]]"
    holds "$service has no capability, and a filter of system calls" \
      has_lines 'CapEff:.0*$' 'CapBnd:.0*$' 'NoNewPrivs:.1' 'Seccomp:.2'
  done
  for transport in http rpc rabbitmq grpc; do
    holds "$transport accepts" within 60 accepts "$transport" first
  done
  holds "all four are stored" within 20 has_stored first 4
  holds "reload keeps it running" run systemctl reload fourwire-broker fourwire-logger fourwire-listener
  holds "after a kill -9 the logger is started again" run systemctl kill -s KILL fourwire-logger
  holds "and stores" within 30 accepts http again
  holds "all stop in order" run systemctl stop fourwire-broker fourwire-listener fourwire-logger
  holds "and none has failed" [ -z "$(run systemctl list-units --failed --no-legend 'fourwire-*')" ]
}

# systemd wants a hierarchy of cgroups for itself, and all capabilities that there are.
start_systemd() {
  build_image "$CONTAINER" - <<<"FROM fourwire-offline/rabbitmq
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends systemd curl procps
STOPSIGNAL SIGRTMIN+3
CMD [\"sh\", \"-c\", \"mkdir -p /run/all && mount -t cgroup2 none /run/all && mkdir -p /run/all/$CONTAINER && \
echo \$\$ >/run/all/$CONTAINER/cgroup.procs && exec unshare --cgroup sh -c 'umount -R /sys/fs/cgroup; \
mount -t cgroup2 none /sys/fs/cgroup && umount /run/all && exec /lib/systemd/systemd'\"]"
  docker run --detach --name "$CONTAINER" --hostname rabbitmq --cap-add ALL --cap-drop SYS_RESOURCE \
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined --tmpfs /run --tmpfs /tmp \
    --env container=docker "$CONTAINER" >/dev/null
  within 30 run systemctl list-units || { echo "systemd does not start." >&2; exit 1; }
  run install -d /usr/local/lib/fourwire
  for program in broker listener logger; do docker cp "$1/$program" "$CONTAINER:/usr/local/lib/fourwire/$program"; done
  for unit in deploy/systemd/*.service; do docker cp "$unit" "$CONTAINER:/etc/systemd/system/"; done
  docker cp deploy/systemd/fourwire.conf "$CONTAINER:/usr/lib/sysusers.d/"
  run systemd-sysusers
  run install -d -o fourwire -m 700 /etc/fourwire
  docker exec --interactive "$CONTAINER" install -o fourwire -m 600 /dev/stdin /etc/fourwire/amqp_url \
    <<<"amqp://guest:guest@localhost:5672/%2f"
  run systemctl daemon-reload
  run systemctl start --no-block rabbitmq-server fourwire-logger fourwire-listener fourwire-broker
}

# Whether the status of a process has a line that begins with each of these.
has_lines() {
  local pattern
  for pattern in "$@"; do grep -q "^$pattern" <<<"$status" || return 1; done
}

run() { docker exec "$CONTAINER" "$@"; }

curl() { docker exec "$CONTAINER" curl "$@"; }

clean_up() {
  local status=$?
  ((status == 0)) || run journalctl --no-pager --lines 60 >&2 || true
  docker rm --force --volumes "$CONTAINER" >/dev/null 2>&1 || true
  # What it made for itself on the host.
  find /sys/fs/cgroup -depth -type d -path "*/$CONTAINER*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$work"
}

main "$@"
