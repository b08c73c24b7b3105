#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stopgap_fuzz::rule_text(data));
