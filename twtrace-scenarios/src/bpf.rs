//! Owns: which BPF programs the kernel has loaded, and what a process holds.
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
    let held = descriptors(pid)?;
    Ok(held.iter().filter_map(|held| held.field("prog_id")?.parse().ok()).collect())
}

/// What the kernel says of a descriptor (/proc/PID/fdinfo).
pub struct Held(String);

impl From<&str> for Held {
    fn from(fdinfo: &str) -> Self {
        Self(fdinfo.to_owned())
    }
}

impl Held {
    /// The value of a line by its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    }
}

/// All descriptors of a process.
pub fn descriptors(pid: u32) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One may be closed meanwhile.
        all.extend(fs::read_to_string(entry?.path()).map(Held));
    }
    Ok(all)
}
