//! The fuzzer's way into the reader of recordings: any bytes, no panic, no memory out of proportion.
//!
//! Owns: the glue. Must not know: what is tried with the bytes, which `twtrace::recording::exercise` does for the tests too.
//!
//! `cargo xtask fuzz`, or, with a nightly compiler and the address sanitizer,
//! `cargo +nightly fuzz run recording twtrace/tests/data/recording-corpus -- -max_len=65536 -rss_limit_mb=1024`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    twtrace::recording::exercise::exercise(bytes);
});
