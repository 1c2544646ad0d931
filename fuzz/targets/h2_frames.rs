//! Feeds libFuzzer's bytes to [`lateen_fuzz::h2_frames::run`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lateen_fuzz::h2_frames::run(input));
