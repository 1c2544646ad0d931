//! Feeds libFuzzer's bytes to [`lateen_fuzz::tls_session::run`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lateen_fuzz::tls_session::run(input));
