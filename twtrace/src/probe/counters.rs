//! Owns: the kernel side's counts of what was lost.
//! Must not know: what is done about it.

use std::os::fd::{AsRawFd, OwnedFd};

use aya::maps::{MapData, PerCpuArray};
use twtrace_common::loss;

use crate::event::Loss;

/// Reads the loss counters, and the runs that the kernel itself skipped.
pub(super) struct Counters {
    slots: PerCpuArray<MapData, u64>,
    programs: Vec<OwnedFd>,
    frozen_misses: Option<u64>,
}

impl Counters {
    pub(super) fn new(slots: PerCpuArray<MapData, u64>, programs: Vec<OwnedFd>) -> Self {
        Self { slots, programs, frozen_misses: None }
    }

    /// All since the start.
    pub(super) fn read(&mut self) -> Loss {
        Loss {
            created: self.slot(loss::CREATED),
            ended: self.slot(loss::ENDED) + self.slot(loss::LIVE),
            overflow: self.slot(loss::OVERFLOW),
            connect_failed: self.slot(loss::CONNECT_FAILED),
            bind_failed: self.slot(loss::BIND_FAILED),
            owners: self.slot(loss::OWNER),
            missed_runs: self.missed_runs(),
        }
    }

    /// Takes the last reading of what goes away with the programs.
    pub(super) fn freeze(&mut self) {
        self.frozen_misses = Some(self.missed_runs());
        self.programs.clear();
    }

    fn slot(&self, index: u32) -> u64 {
        self.slots.get(&index, 0).map_or(0, |values| values.iter().sum())
    }

    fn missed_runs(&self) -> u64 {
        self.frozen_misses
            .unwrap_or_else(|| self.programs.iter().map(|fd| recursion_misses(fd.as_raw_fd())).sum())
    }
}

/// `bpf_prog_info.recursion_misses` (include/uapi/linux/bpf.h, 5.12 and later): how often the kernel skipped a run because the
/// program was running on that CPU already. 0 where the kernel does not count.
fn recursion_misses(program: libc::c_int) -> u64 {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    /// Offset of `recursion_misses` in `struct bpf_prog_info`.
    const RECURSION_MISSES: usize = 208;
    #[repr(C)]
    struct InfoByFd {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0u64; 32];
    let attributes = InfoByFd {
        fd: u32::try_from(program).unwrap_or(u32::MAX),
        len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the attributes name a buffer of ours and its length; the kernel writes no more than that.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<InfoByFd>())
    };
    if done == 0 { info[RECURSION_MISSES / 8] } else { 0 }
}
