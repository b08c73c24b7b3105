#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stopgap_fuzz::feed_document(data));
