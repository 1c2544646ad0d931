#!/bin/sh
# Builds every fuzz target once and runs each for a while; fails on the first finding.
#
#   fuzz/run.sh [seconds per target, default 60] [target ...]
#
# Stable Rust: the compiler's coverage pass is turned on by hand, so no nightly and no cargo-fuzz
# are needed, only a C++ compiler for libFuzzer itself. `--target` keeps the flags away from build
# scripts. A finding is left beside the corpus; give it to the target's binary to see it again.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=${*:-$(find fuzz/targets -name '*.rs' ! -name seeds.rs -exec basename {} .rs \; | sort)}

directory=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
bins=
for target in $targets; do
    bins="$bins --bin $target"
done

cargo run -q -p lateen-fuzz --bin seeds -- "$directory/seeds"

RUSTFLAGS="--cfg fuzzing -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1 \
-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo build -q --release -p lateen-fuzz --features libfuzzer $bins --target "$host" \
    --target-dir "$directory"

# Fuzzes one target and tells what came of it.
fuzz() {
    target=$1
    corpus=$directory/corpus/$target
    findings=$directory/findings/$target
    mkdir -p "$corpus" "$findings" "$directory/seeds/$target"
    if ! "$directory/$host/release/$target" "$corpus" "$directory/seeds/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=4096 \
        -artifact_prefix="$findings/" -print_final_stats=1 >"$findings/log" 2>&1; then
        tail -40 "$findings/log"
        echo "$target: a finding, see $findings" >&2
        return 1
    fi
    grep -E 'DONE|number_of_executed_units' "$findings/log" | sed "s/^/$target: /"
}

# As many at once as there are processors.
# What a shell starts in the background does not hear of Ctrl-C.
trap 'trap - INT TERM; kill 0' INT TERM
processors=$(nproc 2>/dev/null || echo 1)
running=
found=0
settle() {
    for process in $running; do
        wait "$process" || found=1
    done
    running=
}
for target in $targets; do
    echo "fuzzing $target for $seconds s"
    fuzz "$target" &
    running="$running $!"
    [ "$(echo "$running" | wc -w)" -lt "$processors" ] || settle
done
settle
exit "$found"
