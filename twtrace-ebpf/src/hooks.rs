//! Owns: the programs, one file a backend. Each entry point carries the kernel's prototype of what it hooks, unpacks the
//! arguments and calls the shared body; nothing is decided here.
//! Must not know: maps, records.

mod common;
mod fentry;
mod kprobe;
mod tracepoint;
