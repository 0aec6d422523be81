//! Owns: bpf(2) as far as harnesses need it: which programs are loaded, what a process holds, what a program is and takes, and how much was put
//! into ring buffers; in `returning`, where programs are attached, and those that only return.
//! Must not know: what programs do, what is in a ring, why anything is asked.

pub mod returning;

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// Commands of bpf(2) (include/uapi/linux/bpf.h, 6.12).
const PROG_GET_NEXT_ID: libc::c_int = 11;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const MAP_GET_FD_BY_ID: libc::c_int = 14;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const ENABLE_STATS: libc::c_int = 32;

/// `BPF_MAP_TYPE_RINGBUF`
const RINGBUF: &str = "27";

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
        let status =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_NEXT_ID, &raw mut attr, size_of::<NextId>()) };
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

/// Counts runs and time of all programs while it lives (`BPF_STATS_RUN_TIME`, Linux 5.8), as kernel.bpf_stats_enabled does; but it
/// cannot be left on by accident.
#[derive(Debug)]
pub struct Statistics {
    _fd: OwnedFd,
}

impl Statistics {
    /// Switches them on.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn enable() -> Result<Self> {
        let mut kind = 0_u32;
        let fd = call(ENABLE_STATS, &mut kind).context("BPF_ENABLE_STATS")?;
        Ok(Self { _fd: fd })
    }
}

/// What the kernel says about a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// At most 15 bytes.
    pub name: String,
    /// Runs while statistics were on.
    pub runs: u64,
    /// What they took, in nanoseconds.
    pub run_ns: u64,
    /// Instructions that the verifier walked through; `None` before Linux 5.16.
    pub verified: Option<u64>,
    /// Bytes of machine code.
    pub bytes: u64,
}

/// Asks about a program by its id.
///
/// # Errors
/// Where there is none, or the kernel refuses.
pub fn info(id: u32) -> Result<Info> {
    info_of(&by_id(PROG_GET_FD_BY_ID, id).with_context(|| format!("BPF program {id}"))?)
}

/// A descriptor of a program or a map, by one of the `BPF_*_GET_FD_BY_ID`.
fn by_id(command: libc::c_int, id: u32) -> Result<OwnedFd> {
    #[repr(C)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    call(command, &mut ById { id, next: 0, flags: 0 })
}

fn info_of(program: &OwnedFd) -> Result<Info> {
    #[repr(C)]
    struct InfoByFd {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut raw = [0_u8; 256];
    let mut attributes =
        InfoByFd { fd: program.as_raw_fd().unsigned_abs(), length: 256, info: raw.as_mut_ptr() as u64 };
    // SAFETY: the attributes name a buffer of ours and its length, which the kernel keeps to; both live through the call.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }.context("BPF_OBJ_GET_INFO_BY_FD")?;
    Ok(parse_info(&raw))
}

/// Offsets are those of `struct bpf_prog_info`; what an older kernel does not know stays 0.
fn parse_info(raw: &[u8; 256]) -> Info {
    let word = |at: usize| u32::from_ne_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let long = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&raw[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    let name = raw[64..80].split(|byte| *byte == 0).next().unwrap_or_default();
    Info {
        name: String::from_utf8_lossy(name).into_owned(),
        runs: long(200),
        run_ns: long(192),
        verified: Some(u64::from(word(216))).filter(|verified| *verified != 0),
        bytes: u64::from(word(16)),
    }
}

/// Bytes that were ever reserved in the ring buffers of a process, what was discarded again included. Needs CAP_SYS_ADMIN.
pub fn produced(pid: u32) -> Result<u64> {
    let mut bytes = 0;
    for held in descriptors(pid)?.iter().filter(|held| held.field("map_type") == Some(RINGBUF)) {
        let id = held.field("map_id").context("a map without an id")?.parse()?;
        bytes += position(&by_id(MAP_GET_FD_BY_ID, id).with_context(|| format!("BPF map {id}"))?)?;
    }
    Ok(bytes)
}

/// The producer's position stands at the beginning of the second page (`struct bpf_ringbuf`, kernel/bpf/ringbuf.c,
/// 5.10 to 7.3).
fn position(ring: &OwnedFd) -> Result<u64> {
    let page = sysconf(SysconfVar::PAGE_SIZE)?.context("no page size")?;
    let length = NonZeroUsize::new(page.try_into()?).context("pages of no bytes")?;
    // SAFETY: a mapping of its own, unmapped below; the kernel writes to it, which a volatile read allows for.
    unsafe {
        let at = mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, ring, page)?;
        let position = at.cast::<u64>().as_ptr().read_volatile();
        munmap(at, length.get())?;
        Ok(position)
    }
}

/// A command whose answer is a descriptor.
fn call<T>(command: libc::c_int, attributes: &mut T) -> Result<OwnedFd> {
    // SAFETY: every pointer in the attributes of the callers is to memory that lives through the call.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `attributes` are those of `command`, and what they point to lives through the call.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_int> {
    // SAFETY: the caller's word for what they point to; their size is told.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    Ok(Errno::result(libc::c_int::try_from(done)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read_from_its_places() {
        let mut raw = [0; 256];
        raw[16..20].copy_from_slice(&4711_u32.to_ne_bytes());
        raw[64..72].copy_from_slice(b"tp_start");
        raw[192..200].copy_from_slice(&7_000_000_000_u64.to_ne_bytes());
        raw[200..208].copy_from_slice(&17_u64.to_ne_bytes());
        raw[216..220].copy_from_slice(&331_u32.to_ne_bytes());
        let info = parse_info(&raw);
        let want = Info {
            name: "tp_start".to_owned(),
            runs: 17,
            run_ns: 7_000_000_000,
            verified: Some(331),
            bytes: 4711,
        };
        assert_eq!(info, want);
        assert_eq!(parse_info(&[0; 256]).verified, None);
    }
}
