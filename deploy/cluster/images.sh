#!/usr/bin/env bash
# Makes the two images of deploy/cluster/compose.yaml where no registry can be reached but Debian's packages can: one of
# the programs in the directory $1 (target/release), one of what they stand on. Prints the settings by which compose
# uses them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/lib.sh
source deploy/lib.sh

images=$(deploy/docker/offline.sh "${1:-target/release}")
# shellcheck source=/dev/null
source <(echo "$images")

build_image fourwire-cluster/services -f deploy/docker/Dockerfile --build-arg BUILD_IMAGE="$FOURWIRE_BUILD_IMAGE" \
  --build-arg BASE_IMAGE="$FOURWIRE_BASE_IMAGE" .
build_image fourwire-cluster/stands-on --build-arg BASE_IMAGE="$FOURWIRE_BASE_IMAGE" deploy/cluster
cat <<ENV
FOURWIRE_IMAGE=fourwire-cluster/services
FOURWIRE_CLUSTER_IMAGE=fourwire-cluster/stands-on
ENV
