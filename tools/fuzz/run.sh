#!/usr/bin/env bash
# Feeds the decoders of foreign bytes with made-up ones: run.sh [TARGET] [SECONDS for each]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${1:-}
duration_s=${2:-600}

missing() {
    echo "fuzzing needs $1, which is not here. This installs it:" >&2
    echo "    $2" >&2
    exit 1
}

cargo +nightly --version >/dev/null 2>&1 || missing "a nightly compiler" "rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || missing "cargo-fuzz" "cargo install --locked cargo-fuzz"

# The longest input in bytes: it holds a batch that is just too long, where there are batches.
max_len() {
    case $1 in
        handle_body | logger_body) echo 32768 ;;
        rpc_frames) echo 16384 ;;
        grpc_message | delivery | netrpc | otlp_logs) echo 8192 ;;
        query) echo 6144 ;;
        *) echo 1024 ;;
    esac
}

for target in ${target:-$(cargo fuzz list --fuzz-dir tools/fuzz)}; do
    # What is found stays apart from what is committed: README.md says how it gets there.
    mkdir -p "tools/fuzz/found/$target"
    cargo +nightly fuzz run --fuzz-dir tools/fuzz "$target" "tools/fuzz/found/$target" "tools/fuzz/corpus/$target" -- \
        "-max_total_time=$duration_s" "-max_len=$(max_len "$target")" -rss_limit_mb=2048 -timeout=10 \
        -dict=tools/fuzz/words.dict -print_final_stats=1
done
