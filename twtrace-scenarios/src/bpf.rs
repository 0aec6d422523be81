//! Owns: which BPF programs the kernel has loaded, and which of them a process holds.
//! Must not know: what they do.

pub mod ring;
pub mod stats;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;

/// `BPF_PROG_GET_NEXT_ID` of bpf(2) (include/uapi/linux/bpf.h).
const GET_NEXT_ID: libc::c_int = 11;

/// The member of `union bpf_attr` that this command uses.
#[repr(C)]
struct NextId {
    start: u32,
    next: u32,
    open_flags: u32,
}

/// Ids of all programs that are loaded. Needs CAP_SYS_ADMIN.
pub fn loaded() -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    let mut attr = NextId { start: 0, next: 0, open_flags: 0 };
    loop {
        // SAFETY: the kernel reads and writes at most the given size of `attr`, which lives through the call.
        let status = unsafe { libc::syscall(libc::SYS_bpf, GET_NEXT_ID, &raw mut attr, size_of::<NextId>()) };
        match Errno::result(status) {
            Ok(_) => {
                ids.insert(attr.next);
                attr.start = attr.next;
            }
            Err(Errno::ENOENT) => return Ok(ids),
            Err(errno) => return Err(errno).context("BPF_PROG_GET_NEXT_ID"),
        }
    }
}

/// Ids of the programs that a process holds by descriptors, of the programs themselves or of their links.
pub fn programs_of(pid: u32) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
        let lines = info.lines().filter_map(|line| line.strip_prefix("prog_id:"));
        ids.extend(lines.filter_map(|id| id.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}
