//! Owns: how much has been put into the ring buffers that a process holds.
//! Must not know: what is in them.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

use super::descriptors;
use super::stats::{MAP_GET_FD_BY_ID, by_id};

/// `BPF_MAP_TYPE_RINGBUF`
const RINGBUF: &str = "27";

/// Bytes that were ever reserved in the ring buffers of a process, what was discarded again included. Needs CAP_SYS_ADMIN.
pub fn produced(pid: u32) -> Result<u64> {
    let mut bytes = 0;
    for held in descriptors(pid)?.iter().filter(|held| held.field("map_type") == Some(RINGBUF)) {
        let id = held.field("map_id").context("a map without an id")?.parse()?;
        bytes += position(&by_id(MAP_GET_FD_BY_ID, id).with_context(|| format!("BPF map {id}"))?)?;
    }
    Ok(bytes)
}

/// The producer's position stands at the beginning of the second page (`struct bpf_ringbuf`, kernel/bpf/ringbuf.c).
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
