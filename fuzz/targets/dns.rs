//! Feeds libFuzzer's bytes to [`lateen_fuzz::dns::run`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lateen_fuzz::dns::run(input));
