#!/usr/bin/env bash
# Checks for what the build, the tests and the benchmarks need, and installs the Debian packages
# that are missing: as root, or through sudo if that asks for no password; else it names them.
#
#   testkit/setup.sh build|demo|test|bench
set -euo pipefail

purpose=${1:?usage: testkit/setup.sh build|demo|test|bench}
missing=()
need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 || PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
  echo "cargo is installed but not on the PATH: run \`. \"\$HOME/.cargo/env\"\` first" >&2
  exit 1
fi
if ! command -v cargo >/dev/null 2>&1; then
  echo "Rust is missing: install it with rustup (https://rustup.rs), 1.93 or newer" >&2
  exit 1
fi

need cc build-essential
need make make
case $purpose in
  build) ;;
  demo) need curl curl ;;
  test) need curl curl; need kubectl kubernetes-client; need setpriv util-linux ;;
  bench)
    need haproxy haproxy; need nginx nginx-light; need wrk wrk; need strace strace; need h2load nghttp2-client
    need python3 python3; need pip3 python3-pip ;;
  *) echo "setup.sh: unknown purpose '$purpose'" >&2; exit 2 ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  else
    echo "Debian packages are missing; as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "missing, by their Debian names: ${missing[*]}; install them with this system's package manager" >&2
  exit 1
fi
echo "installing Debian packages: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
