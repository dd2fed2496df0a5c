#!/bin/sh
# The build stage of the Dockerfile: puts the programs into the directory $1. Where /prebuilt has them, nothing is
# compiled.
set -eu

PROGRAMS="broker logger listener fourwire new-key"
PREBUILT=/prebuilt

if [ ! -d "$PREBUILT" ]; then
  bins=
  for program in $PROGRAMS; do bins="$bins --bin $program"; done
  # shellcheck disable=SC2086 # one word each
  cargo build --release --locked $bins
  PREBUILT=target/release
fi
mkdir -p "$1"
for program in $PROGRAMS; do
  install -m 755 "$PREBUILT/$program" "$1/$program"
  # Line tables are three quarters of it.
  ! command -v strip >/dev/null || strip "$1/$program"
done
