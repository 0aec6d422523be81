//! Owns: what the running kernel looks like, and whether this process may load programs into it.
//! Must not know: which programs, maps.

use twtrace_common::config::Symbols;

use super::environment::{self, Denial};
use super::mounts::VisibleMounts;
use super::numbers::NetnsNumbers;
use super::object::{Loader, raise_memlock};
use super::{Cannot, Options, Why};
use crate::host::caps::Caps;
use crate::kernel::bpf;
use crate::kernel::btf::{self, Btf, Resolved};
use crate::kernel::kallsyms::{KallsymsError, Way};

/// What the kernel's types say.
pub(super) struct Types {
    pub(super) btf: Btf,
    pub(super) resolved: Resolved,
    /// `inet_timewait_sock.tw_kill` is there: TW and TWKilled count expiries, not births.
    pub(super) counts_expiries: bool,
    /// Parameters of `tcp_timewait_state_process`.
    state_process_params: Option<u32>,
}

impl Types {
    fn read() -> Result<Self, Cannot> {
        let btf = Btf::running()?;
        let counts_expiries = matches!(
            btf.member("inet_timewait_sock.tw_kill"),
            Ok(_) | Err(btf::MemberError::Unaligned { .. })
        );
        let state_process_params = btf.func_params("tcp_timewait_state_process");
        Ok(Self { resolved: btf::resolve(&btf)?, counts_expiries, state_process_params, btf })
    }
}

/// The running kernel, looked at once.
pub(super) struct Kernel {
    pub(super) types: Types,
    /// Kernel text, or why it is not known.
    pub(super) symbols: Result<Symbols, Why>,
    /// How that was found out; `None` where it was not.
    pub(super) way: Option<Way>,
    /// File systems of the kernel's.
    pub(super) seen: VisibleMounts,
    pub(super) hz: u32,
}

impl Kernel {
    /// Reads BTF, where functions are and the tick length, and makes the loader on a thread of its own: to read BTF takes either some 20 ms.
    pub(super) fn inspect(seen: &VisibleMounts, options: &Options) -> Result<(Self, Loader), Cannot> {
        permitted()?;
        std::thread::scope(|scope| {
            let work = || (crate::kernel::kallsyms::load(), Loader::new(options));
            let beside = std::thread::Builder::new().name("loader-2".to_owned()).spawn_scoped(scope, work);
            let types = Types::read();
            let (symbols, loader) = match beside {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => work(),
            };
            let types = types?;
            let way = symbols.as_ref().ok().map(|(_, way)| *way);
            let symbols = symbols.map(|(symbols, _)| symbols).map_err(|error| hidden(&error));
            let hz = crate::kernel::hz::hz().ok_or(Cannot::Hz)?;
            Ok((Self { types, symbols, way, seen: seen.clone(), hz }, loader))
        })
    }

    /// The function that ties a full socket to its TIME_WAIT socket here.
    pub(super) fn hashdance(&self) -> &'static str {
        self.types.resolved.timewait_hashdance.unwrap_or(btf::HASHDANCE_SCHEDULE)
    }

    /// The program for the exit of `tcp_timewait_state_process`, whose prototype grew.
    pub(super) fn verdict_program(&self) -> Option<&'static str> {
        match self.types.state_process_params {
            Some(3) => Some("fe_state_process_3"),
            Some(4) => Some("fe_state_process_4"),
            Some(5) => Some("fe_state_process_5"),
            _ => None,
        }
    }

    /// By which numbers the kernel side knows network namespaces.
    pub(super) fn numbers(&self, options: &Options) -> NetnsNumbers {
        NetnsNumbers::of(&options.namespaces, self.types.resolved.net_cookie)
    }
}

fn hidden(error: &KallsymsError) -> Why {
    let (why, remedy) = match error {
        KallsymsError::Hidden => environment::hidden_symbols(),
        other => {
            (other.to_string(), "mount proc at /proc; a kernel with CONFIG_KALLSYMS=y has them".to_owned())
        }
    };
    Why::Symbols(why, remedy)
}

/// Says so where this process may not load BPF programs.
pub(super) fn permitted() -> Result<(), Cannot> {
    // Before 5.11 EPERM is also what too little locked memory is told by.
    raise_memlock();
    match may_load() {
        Ok(()) => Ok(()),
        Err(libc::EPERM | libc::EACCES) => {
            let denial = Denial::find(&environment::TO_TRACE);
            Err(Cannot::Privilege { uid: Caps::own().uid(), denial })
        }
        Err(libc::EMFILE | libc::ENFILE) => Err(Cannot::Files { limit: crate::host::descriptors::limit() }),
        // Whatever it is, loading the real programs will tell more.
        Err(_) => Ok(()),
    }
}

/// Loads the smallest program that traces, and lets go of it: no list of capabilities says as well what a kernel permits.
fn may_load() -> Result<(), libc::c_int> {
    const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
    match bpf::load(BPF_PROG_TYPE_RAW_TRACEPOINT, &bpf::RETURN, 0) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.raw_os_error().unwrap_or(0)),
    }
}
