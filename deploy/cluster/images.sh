#!/usr/bin/env bash
# Makes the two images of deploy/cluster/compose.yaml where no registry can be reached but Debian's packages can: one of
# the programs in the directory $1 (target/release), one of what they stand on. Prints the settings by which compose
# uses them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

images=$(deploy/docker/offline.sh "${1:-target/release}")
# shellcheck source=/dev/null
source <(echo "$images")

build() {
  local output
  echo "Making $1…" >&2
  output=$(docker build --quiet --tag "$@" 2>&1) || { echo "$output" >&2; exit 1; }
}

build fourwire-cluster/services -f deploy/docker/Dockerfile --build-arg BUILD_IMAGE="$FOURWIRE_BUILD_IMAGE" \
  --build-arg BASE_IMAGE="$FOURWIRE_BASE_IMAGE" .
build fourwire-cluster/stands-on --build-arg BASE_IMAGE="$FOURWIRE_BASE_IMAGE" deploy/cluster
cat <<ENV
FOURWIRE_IMAGE=fourwire-cluster/services
FOURWIRE_CLUSTER_IMAGE=fourwire-cluster/stands-on
ENV
