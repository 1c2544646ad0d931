//! Feeds libFuzzer's bytes to [`lateen_fuzz::route_table::run`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lateen_fuzz::route_table::run(input));
