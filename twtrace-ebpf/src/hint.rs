//! Owns: telling user space of a process that it has not seen.
//! Must not know: what the process does.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use twtrace_common::wire::{Header, KIND_PROCESS, Process, Task};

use crate::{emit, filter, maps, mem::Probed, sock, task::Name};

/// Tells user space of a process that it has not seen, while it still lives and /proc can be read.
///
/// # Safety
/// `sk`, a connection of its, is a `struct sock` of TCP.
#[inline(always)]
pub(crate) unsafe fn meet(name: &Name, sk: *const u8) {
    let print = name.fingerprint();
    let Some(seen) = maps::SEEN.get_ptr_mut((print as u32) & (maps::SEEN_SETS - 1)) else { return };
    // SAFETY: a live map value.
    unsafe {
        let [a, b, c, d] = *seen;
        if a == print || b == print || c == print || d == print {
            return;
        }
        // The local port may not be chosen yet.
        if (!filter::asks_for_remote() || filter::remote_passes(&sock::of_sk::<Probed>(sk))) && tell(name) {
            *seen = [print, a, b, c];
        }
    }
}

/// Says whether the process needs not be told again.
#[inline(always)]
fn tell(name: &Name) -> bool {
    if filter::asks_for_task() {
        // Before there is a record: one that is taken back has had its place in the ring all the same.
        // SAFETY: integers only.
        let mut task = unsafe { core::mem::zeroed::<Task>() };
        name.complete(&mut task);
        if !filter::task_passes(&task) {
            return true;
        }
    }
    let Some(mut entry) = emit::reserve_hint::<Process>() else { return false };
    // SAFETY: a helper without preconditions; the record's memory is ours until it is submitted; every field is written.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        record.header = Header { kind: KIND_PROCESS, flags: 0, netns: 0, mono_ns: bpf_ktime_get_ns() };
        name.complete(&mut record.task);
    }
    emit::submit_now(entry);
    true
}
