//! Owns: the kernel side's counts: of what was lost, and of how long connect() looked for a port.
//! Must not know: what is done about it, who asks for them.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use aya::maps::{HashMap, MapData, PerCpuArray};
use aya::{Ebpf, EbpfLoader};
use twtrace_common::loss;

use crate::engine::Spread;
use crate::kernel::bpf;
use crate::model::clock;
use crate::model::event::Loss;

/// What the kernel side has lost so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// By what it would have been.
    pub loss: Loss,
    /// Of [`Loss::missed_runs`], those that may have been a birth or an end: after the others, all that lives is known as before.
    pub doubts: u64,
    /// All that was lost up to then is in it, CLOCK_MONOTONIC in nanoseconds.
    pub read_ns: u64,
}

/// Reads the loss counters, and the runs that the kernel itself skipped.
pub(super) struct Counters {
    slots: PerCpuArray<MapData, Slots>,
    programs: Vec<Program>,
    frozen: Option<Vec<(&'static str, SkippedRun, u64)>>,
}

type Slots = [u64; loss::SLOTS as usize];

/// What a run of a program would have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SkippedRun {
    /// A `created`, for certain.
    Created,
    /// An `ended`, for certain.
    Ended,
    /// A `created` or an `ended`, perhaps.
    Perhaps,
    /// Another event perhaps, or a part of one.
    Other,
}

/// An attached program.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) told: SkippedRun,
    pub(super) fd: OwnedFd,
}

/// Runs that the kernel skipped.
#[derive(Clone, Copy, Debug, Default)]
struct Misses {
    created: u64,
    ended: u64,
    perhaps: u64,
    other: u64,
}

impl Counters {
    pub(super) fn new(slots: PerCpuArray<MapData, Slots>, programs: Vec<Program>) -> Self {
        Self { slots, programs, frozen: None }
    }

    /// All since the start.
    pub(super) fn read(&self) -> Lost {
        let read_ns = clock::mono_ns();
        let misses = self.misses();
        let slots = self.slots();
        let slot = |index: u32| slots[index as usize];
        let doubts = misses.perhaps + slot(loss::STACK);
        let loss = Loss {
            created: slot(loss::CREATED) + misses.created,
            ended: slot(loss::ENDED) + slot(loss::LIVE) + misses.ended,
            overflow: slot(loss::OVERFLOW),
            connect_failed: slot(loss::CONNECT_FAILED),
            bind_failed: slot(loss::BIND_FAILED),
            aborted: slot(loss::ABORTED),
            syn_refused: slot(loss::SYN_REFUSED),
            owners: slot(loss::OWNER),
            missed_runs: doubts + misses.other,
            // Only the kernel's books know.
            missed: 0,
            unwritten: 0,
        };
        Lost { loss, doubts, read_ns }
    }

    /// Whether the kernel lets this thread read them: before 5.19, where kernel.unprivileged_bpf_disabled is set, only
    /// with CAP_BPF (bpf(2), kernel/bpf/syscall.c, 5.10; __sys_bpf(), there, 6.1).
    pub(super) fn can_be_read(&self) -> bool {
        let info = |program: &Program| info(program.fd.as_raw_fd()).is_some();
        self.slots.get(&0, 0).is_ok() && self.programs.first().is_none_or(info)
    }

    /// Takes the last reading of what goes away with the programs.
    pub(super) fn freeze(&mut self) {
        self.frozen = Some(self.skipped());
        self.programs.clear();
    }

    /// Summed over the CPUs.
    fn slots(&self) -> Slots {
        let mut sums = Slots::default();
        for cpu in self.slots.get(&0, 0).iter().flat_map(|values| values.iter()) {
            for (sum, value) in sums.iter_mut().zip(cpu) {
                *sum += value;
            }
        }
        sums
    }

    /// Runs of each program that the kernel skipped.
    pub(super) fn skipped(&self) -> Vec<(&'static str, SkippedRun, u64)> {
        let count =
            |program: &Program| (program.name, program.told, recursion_misses(program.fd.as_raw_fd()));
        self.frozen.clone().unwrap_or_else(|| self.programs.iter().map(count).collect())
    }

    fn misses(&self) -> Misses {
        let mut misses = Misses::default();
        for (_, told, count) in self.skipped() {
            match told {
                SkippedRun::Created => misses.created += count,
                SkippedRun::Ended => misses.ended += count,
                SkippedRun::Perhaps => misses.perhaps += count,
                SkippedRun::Other => misses.other += count,
            }
        }
        misses
    }
}

/// `bpf_prog_info.recursion_misses` (include/uapi/linux/bpf.h, 6.1 to 7.3; since 5.12): how often the kernel skipped a
/// run because the program was running on that CPU already. 0 where the kernel does not count.
fn recursion_misses(program: libc::c_int) -> u64 {
    /// Offset of `recursion_misses` in `struct bpf_prog_info`.
    const RECURSION_MISSES: usize = 208;
    info(program).map_or(0, |info| info[RECURSION_MISSES / 8])
}

/// `struct bpf_prog_info`; `None` where the kernel does not say.
fn info(program: libc::c_int) -> Option<[u64; 32]> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    #[repr(C)]
    struct InfoByFd {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0u64; 32];
    let mut attributes = InfoByFd {
        fd: u32::try_from(program).unwrap_or(u32::MAX),
        len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the attributes name a buffer of ours and its length; the kernel writes no more than that.
    unsafe { bpf::call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes).ok()? };
    Some(info)
}

/// Connects under way at one time, and network namespaces times durations that are told apart.
const ENTRIES: u32 = 10_240;
/// The map with the counts, and that of connects under way.
const COUNTS: &str = "CONNECT_TIMES";
const UNDER_WAY: &str = "CONNECTING";

/// Makes room for them in an object that is to be loaded.
pub(super) fn fit_times(loader: &mut EbpfLoader<'_>) {
    loader.map_max_entries(COUNTS, ENTRIES).map_max_entries(UNDER_WAY, ENTRIES);
}

/// Network namespace and bucket, one after the other.
type BucketKey = [u32; 2];

/// How long connect() looked for a port, by network namespace.
pub(super) struct Times(HashMap<MapData, BucketKey, u64>);

impl Times {
    /// Those of an object that is loaded.
    pub(super) fn of(ebpf: &mut Ebpf) -> Option<Self> {
        Some(Self(HashMap::try_from(ebpf.take_map(COUNTS)?).ok()?))
    }

    /// All since the start, in microseconds. What cannot be read is left out.
    pub(super) fn read(&self) -> Vec<(u32, Spread)> {
        let mut all: BTreeMap<u32, Spread> = BTreeMap::new();
        for ([netns, bucket], count) in self.0.iter().flatten() {
            // Buckets of 64 bits fit.
            let Ok(bucket) = u8::try_from(bucket) else { continue };
            all.entry(netns).or_default().count(bucket, u32::try_from(count).unwrap_or(u32::MAX));
        }
        all.into_iter().collect()
    }
}
