//! Feeds libFuzzer's bytes to [`lateen_fuzz::client_hello::run`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lateen_fuzz::client_hello::run(input));
