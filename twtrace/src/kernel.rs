//! Owns: the kernel side's counterpart: types and addresses of the running kernel, the hooks, the records that they send.
//! Must not know: what events are counted for.

mod bpf;
pub mod btf;
pub mod decode;
pub mod hz;
pub mod kallsyms;
pub mod probe;
