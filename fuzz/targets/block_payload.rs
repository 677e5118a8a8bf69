//! The fuzzer `block_payload`; what it runs is in `src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluice::fuzzing::run("block_payload", data));
