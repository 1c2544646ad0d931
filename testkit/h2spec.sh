#!/usr/bin/env bash
# Prints the path of h2spec, the conformance suite for HTTP/2; installs it where Go is present.
# Prints nothing where it is not: the tests that need it then say that they skip.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
if [ ! -x "$tools/h2spec" ] && command -v go >/dev/null 2>&1; then
  GOBIN=$tools GOFLAGS=-mod=mod go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible >&2 ||
    echo "h2spec cannot be installed: its tests will be skipped" >&2
fi
[ -x "$tools/h2spec" ] && echo "$tools/h2spec" || true
