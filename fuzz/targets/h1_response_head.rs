//! Feeds libFuzzer's bytes to [`lateen_fuzz::h1_response_head::run`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lateen_fuzz::h1_response_head::run(input));
