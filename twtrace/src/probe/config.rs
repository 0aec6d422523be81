//! Owns: what the running kernel looks like, and the configuration that follows from it.
//! Must not know: programs, maps.

use std::io::Read as _;

use twtrace_common::config::{Config, Symbols};

use super::{Backend, Cannot, Options};
use crate::btf::{self, Btf, Resolved};

/// The running kernel, looked at once.
pub(super) struct Kernel {
    pub(super) resolved: Resolved,
    /// Kernel text, or why it is not known.
    pub(super) symbols: Result<Symbols, String>,
    pub(super) btf: aya::Btf,
    /// `inet_timewait_sock.tw_kill` is there: TW and TWKilled count expiries, not births.
    pub(super) counts_expiries: bool,
    hz: u32,
}

impl Kernel {
    /// Reads BTF, kallsyms and the tick length.
    pub(super) fn look() -> Result<Self, Cannot> {
        permitted()?;
        let types = Btf::running()?;
        let resolved = btf::resolve(&types)?;
        let counts_expiries = matches!(
            types.member("inet_timewait_sock.tw_kill"),
            Ok(_) | Err(btf::MemberError::Unaligned { .. })
        );
        let btf = aya::Btf::from_sys_fs().map_err(|error| Cannot::Types(error.to_string()))?;
        let symbols = crate::kallsyms::load().map_err(|error| error.to_string());
        Ok(Self { resolved, symbols, btf, counts_expiries, hz: crate::hz::hz().ok_or(Cannot::Hz)? })
    }

    /// The function that ties a full socket to its TIME_WAIT socket here.
    pub(super) fn hashdance(&self) -> &'static str {
        self.resolved.timewait_hashdance.unwrap_or(super::backend::SCHEDULE)
    }

    /// The configuration for one attempt.
    pub(super) fn config(&self, backend: Backend, options: &Options, socket_cookie: bool) -> Config {
        let blank = [0u8; size_of::<Config>()];
        let mut config: Config = twtrace_common::from_bytes(&blank).expect("the array has that size");
        self.resolved.fill(&mut config);
        config.symbols = *self.symbols.as_ref().unwrap_or(&Symbols::default());
        config.filter = options.filter.wire;
        config.track_live = options.filter.track_live.into();
        config.seed = seed();
        // A quarter of the ring, 64 KiB at most: late enough to be rare, early enough to leave the reader time.
        config.wakeup_bytes = u64::from(options.ring_bytes / 4).min(64 << 10);
        config.hz = self.hz;
        config.backend = backend.number();
        config.socket_cookie = socket_cookie.into();
        config.debug_log = options.debug_log.into();
        config
    }
}

/// Says so where this process may not load BPF programs.
pub(super) fn permitted() -> Result<(), Cannot> {
    // SAFETY: no preconditions.
    let uid = unsafe { libc::geteuid() };
    if may_load() { Ok(()) } else { Err(Cannot::Privilege { uid }) }
}

/// Whether this process may load BPF programs at all, found out by the cheapest thing that needs it: the id of the first
/// program on the machine (BPF_PROG_GET_NEXT_ID wants CAP_SYS_ADMIN or CAP_BPF; it says ENOENT where there is none).
fn may_load() -> bool {
    const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
    let mut attributes = [0u8; 16];
    // SAFETY: the attributes are ours, zeroed, and as long as said.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_GET_NEXT_ID, attributes.as_mut_ptr(), attributes.len())
    };
    done == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

/// Random enough that nobody outside can choose connections whose keys collide.
fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        return u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    u64::from_ne_bytes(bytes)
}
