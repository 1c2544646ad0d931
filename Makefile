# Two commands do everything: `make demo` and `make test`.
# `make demo` leaves a mesh with Bookinfo running; `target/release/lateen down` ends it.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/release
# The data path is many small functions of many crates: optimized as a whole, a call of gRPC takes a
# seventh less time. The other programs would take minutes more to build for nothing.
AS_A_WHOLE := CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
# Seconds that each fuzz target runs in `make test`.
FUZZ_SECONDS ?= 60
# What a test says went wrong is the last thing it prints.
export RUST_LIB_BACKTRACE := 0

.PHONY: help demo build test lint unit e2e fuzz soak bench clean setup

help:
	@echo "make demo    build everything, start a mesh with Bookinfo on this machine, print its URLs"
	@echo "make test    lint, unit, integration, fuzz (1 min a target) and end-to-end tests"
	@echo "make soak    fuzzing for ten minutes a target, floods of a minute, and a hundred rolling restarts"
	@echo "make bench   measure beside Envoy, HAProxy, nginx and a TCP relay"
	@echo "make lint    format, sizes, boundaries, clippy"
	@echo "make clean   remove what was built"

setup:
	@testkit/setup.sh build

build: setup
	$(CARGO) build --release -p lateen-cli -p bookinfo
	$(AS_A_WHOLE) $(CARGO) build --release -p lateen-proxy

demo: build
	@testkit/setup.sh demo
	@$(BIN)/lateen up --bookinfo

test: setup lint unit fuzz e2e
	@echo "make test: everything passed"

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) run -q -p xtask -- check
	$(CARGO) clippy -q --workspace --all-targets -- -D warnings

unit: setup
	@testkit/setup.sh test
	H2SPEC=$$(testkit/h2spec.sh) $(CARGO) test --workspace --exclude lateen-e2e --no-fail-fast

fuzz: setup
	fuzz/run.sh $(FUZZ_SECONDS)

e2e: build
	@testkit/setup.sh test
	$(CARGO) build --release -p lateen-echo
	LATEEN_BIN_DIR=$(abspath $(BIN)) $(CARGO) test -p lateen-e2e -- --nocapture --test-threads=1

# What takes too long for every change.
soak: build
	@testkit/setup.sh test
	$(CARGO) build --release -p lateen-echo
	fuzz/run.sh 600
	LATEEN_FLOOD_SECONDS=60 LATEEN_BIN_DIR=$(abspath $(BIN)) \
		$(CARGO) test -p lateen-proxy --test floods -- --nocapture
	LATEEN_RESTARTS=100 LATEEN_BIN_DIR=$(abspath $(BIN)) \
		$(CARGO) test -p lateen-e2e --test restarts -- --nocapture --test-threads=1

bench: build
	@testkit/setup.sh bench
	bench/run.sh

clean:
	$(CARGO) clean
