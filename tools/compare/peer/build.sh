#!/usr/bin/env bash
# Builds the peer, `gopeer`, into a directory, of Debian's packages alone: nothing is downloaded, and what is missing
# `deploy/tools.sh` installs. GO is the compiler, `go` by default.
set -euo pipefail

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
GO=${GO:-go}
OUT=$(mkdir -p "${1:?the directory that it goes to}" && cd "$1" && pwd -P)

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# A GOPATH of its own, since the stubs of logs.proto are made beside the sources.
mkdir -p "$tree/src/gopeer"
cp "$SOURCE"/*.go "$SOURCE/logs.proto" "$tree/src/gopeer/"
cd "$tree/src"
protoc -I gopeer --go_out=. --go-grpc_out=. gopeer/logs.proto
export GOPATH=$tree:/usr/share/gocode GO111MODULE=off GOFLAGS= GOTOOLCHAIN=local
cd gopeer
"$GO" vet .
"$GO" build -trimpath -tags libsqlite3 -o "$OUT/gopeer" .
