#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerage_wire::fuzz::mainline_packet(bytes));
