#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dace_fuzz::machine(data));
