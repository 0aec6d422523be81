//! The kernel side of twtrace: one object that holds every backend.
//!
//! Owns: nothing itself; it names the rooms. `hooks` has the entry points (one file a backend, each with its kernel
//! prototype), everything else is the body that they share.
//! Must not know: user space. Whatever it needs arrives in `config`, whatever it finds leaves through `emit`.
#![no_std]
#![no_main]
// For the atomic additions in `maps` and `table`.
#![feature(asm_experimental_arch)]

mod abort;
mod birth;
mod config;
mod death;
mod emit;
mod failure;
mod fd;
mod filter;
mod hint;
mod hooks;
mod maps;
mod mem;
mod owner;
mod sock;
mod stack;
mod state;
mod table;
mod task;
mod tcp_states;
mod timers;
mod timing;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The helpers that read kernel memory are for GPL-compatible programs only (`gpl_only` of
/// `bpf_probe_read_kernel_proto`, kernel/trace/bpf_trace.c, 5.10 to 7.3).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
