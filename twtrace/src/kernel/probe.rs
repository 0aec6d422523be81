//! Owns: the kernel side from here: loading it, attaching it, draining its ring, counting what it lost. The only part
//! of twtrace that knows aya.
//! Must not know: what an event means, who reads it.

mod backend;
mod config;
mod counters;
mod environment;
mod load;
mod log;
mod mounts;
mod numbers;
mod object;
mod reason;
mod running;
mod said;

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use counters::Lost;
pub use environment::Denial;
use numbers::NetnsNumbers;
pub use reason::{Cannot, Fallback, Why, limitations};

use crate::engine::Spread;
pub use crate::kernel::kallsyms::Way;
use crate::model::event::Event;
use crate::model::filter::KernelFilter;
use crate::model::limitation::Limitation;

/// A set of hooks that tells every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// fentry and fexit on the kernel's functions.
    Fentry,
    /// kprobes and kretprobes on the same functions.
    Kprobe,
    /// Tracepoints only.
    Tracepoint,
}

// Best first. A kprobe's program is skipped while another one runs on the CPU, which kernels before 6.7 do not even count
// (trace_call_bpf(), kernel/trace/bpf_trace.c, 5.10 to 7.3); the tracepoints that we use never skip a birth or an end.
// So kprobes come last, although they are cheaper.
crate::model::words!(Backend, ALL, { Fentry => "fentry", Tracepoint => "tracepoint", Kprobe => "kprobe" });

impl Backend {
    /// Its number in [`twtrace_common::config::Config`].
    const fn number(self) -> u32 {
        match self {
            Self::Fentry => twtrace_common::config::BACKEND_FENTRY,
            Self::Kprobe => twtrace_common::config::BACKEND_KPROBE,
            Self::Tracepoint => twtrace_common::config::BACKEND_TRACEPOINT,
        }
    }
}

/// How the kernel side is to be set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This backend and no other; `None`: the best that works.
    pub backend: Option<Backend>,
    /// What travels.
    pub filter: KernelFilter,
    /// The network namespaces that the filter names, each by its inode and its cookie (see [`cookie_here`](crate::host::net::netns::cookie_here));
    /// empty where it names none, or one has a cookie that is not known.
    pub namespaces: Vec<(u32, u64)>,
    /// Size of the ring buffer in bytes; rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// How many live sockets can be followed when a filter asks for the owner.
    pub live_entries: u32,
    /// Turns the kernel side's debug log on.
    pub debug_log: bool,
    /// Measure how long connect() looks for a port, where the backend can.
    pub times_connect: bool,
    /// No hook on system calls: while there is one, every system call of the machine takes a longer way.
    pub no_syscalls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backend: None,
            filter: KernelFilter::default(),
            namespaces: Vec::new(),
            ring_bytes: 4 << 20,
            live_entries: 262_144,
            debug_log: false,
            times_connect: false,
            no_syscalls: false,
        }
    }
}

/// Asks for network namespace and port of the listeners that are there already: says `server` of connections older than twtrace.
pub type Listeners<'a> = &'a (dyn Fn() -> Vec<(u32, u16)> + Sync);

/// The kernel side, attached. Everything it loaded goes away with it, whatever kills the process: links and programs
/// are held by file descriptors alone.
pub struct Probe {
    attached: Option<load::Attached>,
    ring: Option<Ring>,
    counters: counters::Counters,
    times: Option<counters::Times>,
    backend: Backend,
    fallbacks: Vec<Fallback>,
    counts_expiries: bool,
    numbers: NetnsNumbers,
}

/// The records of the kernel side, in their order. It stays when the hooks go.
pub struct Ring {
    ring: RingBuf<MapData>,
    bytes: usize,
}

impl Ring {
    /// Hands the oldest record that is in the ring to `sink`. Says whether there was one.
    pub fn next(&mut self, sink: impl FnOnce(&[u8])) -> bool {
        self.ring.next().map(|record| sink(&record)).is_some()
    }

    /// Whether it has more than was handed out: records that came since, or one that a hook has begun and not finished, which keeps back all
    /// that came after it (ringbuf_map_poll_kern(), kernel/bpf/ringbuf.c, 6.1 to 7.3; ringbuf_map_poll(), there, 5.10).
    pub fn has_unread(&self) -> bool {
        let mut ring = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
        poll(&mut ring, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// How much fits into it, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl AsFd for Ring {
    /// Becomes readable when the first record comes, and again when much is waiting.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl Probe {
    /// Loads and attaches the best backend that works here, or the one that is asked for. `listeners` are asked for once all is loaded: that
    /// takes so long that others may begin to listen meanwhile.
    ///
    /// # Errors
    /// When none does; says why, for each that was tried.
    pub fn attach(options: &Options, listeners: Listeners<'_>) -> Result<Self, Cannot> {
        let attached = mounts::with(|seen| Self::try_all(options, listeners, seen));
        Self::trim();
        attached
    }

    fn try_all(
        options: &Options,
        listeners: Listeners<'_>,
        seen: &mounts::VisibleMounts,
    ) -> Result<Self, Cannot> {
        let (kernel, mut loader) = running::Kernel::inspect(seen, options)?;
        let candidates = match options.backend {
            Some(backend) => vec![backend],
            None => Backend::ALL.to_vec(),
        };
        let mut fallbacks = Vec::new();
        for backend in candidates {
            match load::attach(backend, &kernel, options, listeners, &mut loader) {
                Ok(loaded) => {
                    fallbacks.extend(loaded.notes);
                    return Ok(Self {
                        attached: Some(loaded.attached),
                        ring: Some(Ring { ring: loaded.ring, bytes: options.ring_bytes as usize }),
                        counters: loaded.counters,
                        times: loaded.times,
                        backend,
                        fallbacks,
                        counts_expiries: kernel.types.counts_expiries,
                        numbers: kernel.numbers(options),
                    });
                }
                Err(fallback) => fallbacks.push(fallback),
            }
        }
        Err(Cannot::NoBackend(fallbacks))
    }

    /// Gives back what looking at the kernel's types took: some 20 MB that would otherwise stay with the allocator.
    fn trim() {
        #[cfg(target_env = "gnu")]
        // SAFETY: no preconditions.
        unsafe {
            libc::malloc_trim(0);
        }
    }

    /// The backend in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What was tried and did not work, and what the backend in use cannot do here.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// What events cannot tell here.
    pub fn limitations(&self) -> Vec<Limitation> {
        reason::limitations(self.fallbacks.iter().filter(|fallback| fallback.backend == self.backend))
    }

    /// Whether the kernel's TW counters count expiries, as they did before 5.18, and not births.
    pub fn counts_expiries(&self) -> bool {
        self.counts_expiries
    }

    /// The ring, for whoever drains it; once only.
    pub fn take_ring(&mut self) -> Option<Ring> {
        self.ring.take()
    }

    /// All that the kernel side has lost since it was attached.
    pub fn loss(&self) -> Lost {
        self.counters.read()
    }

    /// How long connect() looked for a port since the hooks were attached, in microseconds, by inode of the network namespace; empty where
    /// that is not measured.
    pub fn connect_times(&self) -> Vec<(u32, Spread)> {
        let all = self.times.as_ref().map_or_else(Vec::new, counters::Times::read);
        all.into_iter().filter_map(|(number, spread)| Some((self.numbers.inode(number)?, spread))).collect()
    }

    /// Whether the kernel side tells the network namespaces that the filter names from later ones that have their inodes.
    pub fn tells_namespaces_apart(&self) -> bool {
        self.numbers.are_cookies()
    }

    /// Gives a decoded event the inode of its network namespace, by which it is known here; `false` where it is of another namespace than the
    /// filter names.
    pub fn resolve_netns(&self, event: &mut Event) -> bool {
        let Some(conn) = event.conn.as_mut().filter(|_| self.numbers.are_cookies()) else { return true };
        let inode = self.numbers.inode(conn.netns);
        conn.netns = inode.unwrap_or(conn.netns);
        inode.is_some()
    }

    /// Nothing of whom is in this cgroup travels any more, where there is a filter on cgroups. For good, as far as memory goes.
    pub fn leave_out(&mut self, cgroup_id: u64) {
        if let Some(attached) = &mut self.attached {
            attached.leave_out(cgroup_id);
        }
    }

    /// Whether this thread may read what [`Probe::loss`] is read from.
    pub fn can_be_read(&self) -> bool {
        self.counters.can_be_read()
    }

    /// Hooks whose runs the kernel skipped, because the hook was running on that CPU already, and how many.
    pub fn skipped(&self) -> Vec<(&'static str, u64)> {
        let skipped = self.counters.skipped().into_iter().filter(|(_, _, count)| *count != 0);
        skipped.map(|(name, _, count)| (name, count)).collect()
    }

    /// Waits until every run of a hook that began before is over: then what it told is in the ring, and what it could not tell is
    /// counted. All hooks stay attached, but on kernels that cannot say (built without membarrier(2), or with nohz_full).
    pub fn settle(&mut self) {
        const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
        let (none, no_cpu) = (0 as libc::c_long, 0 as libc::c_long);
        // It waits for a grace period of RCU where there are several CPUs (membarrier(2), kernel/sched/membarrier.c,
        // 5.10 to 7.3), and all hooks run within one.
        // SAFETY: numbers only.
        let done = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, none, no_cpu) };
        if done != 0 {
            self.detach();
        }
    }

    /// Detaches every hook. What is in the ring stays there to be drained.
    pub fn detach(&mut self) {
        self.counters.freeze();
        self.attached = None;
    }
}

/// Whether this process may load BPF programs at all.
///
/// # Errors
/// [`Cannot::Privilege`] where not.
pub fn permitted() -> Result<(), Cannot> {
    running::permitted()
}

/// What can be had here.
pub struct Survey {
    /// How the kernel's functions are found; `None` where they are not, which backends tell.
    pub functions: Option<Way>,
    /// Each backend, and what it cannot do here, or why it does not work.
    pub backends: Vec<(Backend, Result<Vec<Fallback>, Fallback>)>,
}

/// Tries each backend in turn, as [`Probe::attach`] would, and lets go of it again.
///
/// # Errors
/// Where not even that can be tried (no privilege, no BTF).
pub fn survey() -> Result<Survey, Cannot> {
    let options = Options { ring_bytes: 1 << 16, live_entries: 1, ..Options::default() };
    mounts::with(|seen| {
        let (kernel, mut loader) = running::Kernel::inspect(seen, &options)?;
        let attempt = |backend: &Backend| {
            let attached = load::attach(*backend, &kernel, &options, &Vec::new, &mut loader);
            (*backend, attached.map(|loaded| loaded.notes))
        };
        Ok(Survey { functions: kernel.way, backends: Backend::ALL.iter().map(attempt).collect() })
    })
}
