#!/usr/bin/env bash
# Makes the images that the Dockerfile and deploy/compose.yaml begin with, where no registry can be reached but
# Debian's packages can: `debian:trixie-slim` by debootstrap, a build stage that holds the programs of the directory
# $1 (target/release) instead of a compiler, and RabbitMQ. Prints the settings by which compose uses them:
#
#     mkdir -p .run && deploy/docker/offline.sh target/release >.run/images.env
#     docker compose -f deploy/compose.yaml --env-file .run/images.env up
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/lib.sh
source deploy/lib.sh

BASE=fourwire-offline/debian:trixie
PREBUILT=fourwire-offline/prebuilt
RABBITMQ=fourwire-offline/rabbitmq
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

main() {
  local binaries=${1:-target/release}
  docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ||
    die "No container engine answers: install Debian's docker.io, or start dockerd."
  has "$BASE" || make_base
  make_prebuilt "$binaries"
  has "$RABBITMQ" || build_image "$RABBITMQ" -f deploy/docker/rabbitmq.Dockerfile --build-arg BASE_IMAGE="$BASE" deploy/docker
  cat <<ENV
FOURWIRE_BUILD_IMAGE=$PREBUILT
FOURWIRE_BASE_IMAGE=$BASE
RABBITMQ_IMAGE=$RABBITMQ
ENV
}

make_base() (
  ((EUID == 0)) || die "debootstrap needs root: 'sudo deploy/docker/offline.sh'."
  command -v debootstrap >/dev/null || die "Install Debian's debootstrap first."
  root=$(mktemp -d)
  trap 'rm -rf "$root" "$root.log"' EXIT
  say "Making $BASE…"
  debootstrap --variant=minbase trixie "$root" "$MIRROR" >"$root.log" 2>&1 || die "$(tail -n 5 "$root.log")"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$BASE" >/dev/null
)

make_prebuilt() (
  context=$(mktemp -d)
  trap 'rm -rf "$context" "$context.Dockerfile"' EXIT
  for program in broker logger listener fourwire new-key; do
    [[ -x $1/$program ]] || die "There is no $1/$program: 'cargo build --release --bins --locked' makes it."
    cp "$1/$program" "$context/"
    ! command -v strip >/dev/null || strip "$context/$program"
  done
  printf 'FROM %s\nCOPY . /prebuilt/\n' "$BASE" >"$context.Dockerfile"
  build_image "$PREBUILT" -f "$context.Dockerfile" "$context"
)

has() { docker image inspect "$1" >/dev/null 2>&1; }

main "$@"
