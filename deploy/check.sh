#!/usr/bin/env bash
# Checks what deploys Fourwire as far as that goes without an engine, a cluster or a running systemd: compose and
# Swarm files by docker-compose, deploy/kubernetes by kubectl and kubernetes-validate, the units by systemd-analyze.
# What a tool is missing for is said, and not checked. Part of `make check`; `deploy/check.sh kubernetes` checks that
# alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# From 0, nothing is exposed, to 10.
MOST_EXPOSURE=2.5
VALIDATE=.run/kubernetes/bin/kubernetes-validate

main() {
  local part
  for part in "${@:-all}"; do
    case $part in
      compose | kubernetes | systemd) "$part" ;;
      # Not joined by &&: bash would ignore what fails inside of the functions.
      all) compose; kubernetes; systemd ;;
      *) echo "usage: deploy/check.sh [compose] [kubernetes] [systemd]" >&2 && exit 2 ;;
    esac
  done
}

compose() {
  local found=
  # `config` knows the shape of both formats, and needs no engine.
  if docker compose version >/dev/null 2>&1; then found=1 && compose_with docker compose; fi
  if command -v docker-compose >/dev/null; then found=1 && compose_with docker-compose; fi
  [[ -n $found ]] || skip "deploy/compose.yaml, deploy/cluster/compose.yaml and deploy/swarm.yaml" "docker-compose"
}

compose_with() {
  "$@" -f deploy/compose.yaml config --quiet
  "$@" -f deploy/cluster/compose.yaml config --quiet
  FOURWIRE_IMAGE=fourwire "$@" -f deploy/swarm.yaml config --quiet 2>/dev/null ||
    FOURWIRE_IMAGE=fourwire "$@" -f deploy/swarm.yaml config --quiet
  echo "deploy/compose.yaml, deploy/cluster/compose.yaml and deploy/swarm.yaml: valid, says $*"
}

kubernetes() {
  local manifests
  command -v kubectl >/dev/null || { skip deploy/kubernetes "kubectl (Debian: kubernetes-client)"; return; }
  manifests=$(kubectl kustomize deploy/kubernetes)
  echo "deploy/kubernetes: kustomize builds $(grep -c '^kind:' <<<"$manifests") objects"
  if [[ ! -x $VALIDATE ]]; then
    skip "their schema" "kubernetes-validate ('deploy/tools.sh kubernetes' installs it)"
    return
  fi
  "$VALIDATE" --strict --quiet /dev/stdin <<<"$manifests"
  echo "deploy/kubernetes: valid, says kubernetes-validate"
}

systemd() (
  command -v systemd-analyze >/dev/null || { skip deploy/systemd systemd-analyze; exit; }
  units=$(mktemp -d)
  trap 'rm -rf "$units"' EXIT
  # The programs are not installed here.
  for unit in deploy/systemd/*.service; do
    sed 's,^ExecStart=.*,ExecStart=/bin/true,' "$unit" >"$units/${unit##*/}"
  done
  complaints=$(systemd-analyze verify "$units"/*.service 2>&1 | grep -F "$units" || true)
  [[ -z $complaints ]] || fail "$complaints"
  for unit in "$units"/*.service; do
    exposure=$(systemd-analyze security --offline=true "$unit" | awk '/Overall exposure level/ { print $(NF - 2) }')
    awk "BEGIN { exit !($exposure <= $MOST_EXPOSURE) }" ||
      fail "${unit##*/}: exposure $exposure, at most $MOST_EXPOSURE"
    echo "deploy/systemd/${unit##*/}: valid, exposure $exposure of at most $MOST_EXPOSURE"
  done
)

skip() { echo "NOT CHECKED: $1, since there is no $2"; }

fail() {
  echo "$*" >&2
  exit 1
}

main "$@"
