//! Owns: the one list of what truly cannot be told, by scenario, backend and kernel, each with its reason. It is the
//! only way to skip a scenario.
//! Must not know: how scenarios run.

use twtrace_kit::command::on_path;
use twtrace_kit::kernel;

use crate::{hung, ss};

/// What this machine lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It is emulated, and too slow for what depends on time.
    Speed,
    /// Its kernel cannot do it.
    Kernel,
    /// It has no terminals.
    Terminal,
    /// A program is not installed.
    Program,
}

impl Lack {
    /// As the line of a skipped scenario has it; `xtask` refuses other words.
    fn word(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Kernel => "kernel",
            Self::Terminal => "terminal",
            Self::Program => "program",
        }
    }
}

/// Why a scenario is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// What is missing.
    pub lack: Lack,
    /// In full.
    pub reason: &'static str,
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.lack.word(), self.reason)
    }
}

/// One thing that cannot be told.
struct Limit {
    scenario: &'static str,
    /// `None`: no backend can.
    backend: Option<&'static str>,
    /// Asked of the running kernel.
    here: fn() -> bool,
    lack: Lack,
    reason: &'static str,
}

/// The guests' initramfs has a handful of programs.
const NO_TERMINAL: Limit = Limit {
    scenario: "",
    backend: None,
    here: || !(installed("tmux") && installed("stty")),
    lack: Lack::Terminal,
    reason: "needs a terminal: tmux and stty, which guests do not have",
};

/// The same.
const NO_SHELL: Limit = Limit {
    scenario: "",
    backend: None,
    here: || !(installed("sh") && installed("true")),
    lack: Lack::Program,
    reason: "records sh and true, which guests do not have",
};

/// A file system that does not answer is one of ours.
const NO_FUSE: Limit = Limit {
    scenario: "",
    backend: None,
    here: || !hung::can_be(),
    lack: Lack::Kernel,
    reason: "needs a file system in user space, and /dev/fuse cannot be opened here",
};

/// A real web server under a real load.
const NO_WEB_SERVER: Limit = Limit {
    scenario: "",
    backend: None,
    here: || !(installed("nginx") && installed("ab")),
    lack: Lack::Program,
    reason: "needs nginx and ab",
};

/// Kernels before 6.3.
const NO_SOCKET_RANGE: Limit = Limit {
    scenario: "",
    backend: None,
    here: || kernel::version().is_ok_and(|version| version < (6, 3)),
    lack: Lack::Kernel,
    reason: "this kernel has no IP_LOCAL_PORT_RANGE",
};

/// What becomes of a packet is told by nothing but the function's return value.
const NO_VERDICT: Limit = Limit {
    scenario: "syn_refused",
    backend: None,
    here: || true,
    lack: Lack::Kernel,
    reason: "only the fentry backend sees what tcp_timewait_state_process() returns",
};

const LIMITS: &[Limit] = &[
    Limit {
        scenario: "doctor_syn_refused",
        backend: None,
        here: || kernel::version().is_ok_and(|version| version < (6, 16)),
        lack: Lack::Kernel,
        reason: "this kernel does not count SYNs that TIME_WAIT refuses",
    },
    Limit { backend: Some("auto"), here: || !kernel::is_emulated(), ..NO_VERDICT },
    Limit { backend: Some("kprobe"), ..NO_VERDICT },
    Limit { backend: Some("tracepoint"), ..NO_VERDICT },
    Limit { scenario: "doctor_socket_range", ..NO_SOCKET_RANGE },
    Limit { scenario: "stopped_reader_of_the_live_view", ..NO_SHELL },
    Limit { scenario: "nobody_reads_stderr", ..NO_SHELL },
    Limit { scenario: "ignored_signals", ..NO_SHELL },
    Limit {
        scenario: "doctor_nothing_wrong",
        backend: None,
        here: kernel::is_emulated,
        lack: Lack::Speed,
        reason: "looks at a few seconds of traffic, which are too short for an emulated machine",
    },
    Limit {
        scenario: "slow_reader",
        backend: None,
        here: kernel::is_emulated,
        lack: Lack::Speed,
        reason: "needs more events a second than the reader takes, which an emulated machine does not make",
    },
    Limit {
        scenario: "killed_by_ss",
        backend: None,
        here: || !ss::can_kill_time_wait(),
        lack: Lack::Kernel,
        reason: "this kernel cannot end a TIME_WAIT socket on request (no tcp_diag with SOCK_DESTROY, or before 6.1)",
    },
    Limit { scenario: "hung_arguments", ..NO_FUSE },
    Limit { scenario: "record_hung_disk", ..NO_FUSE },
    Limit { scenario: "serve_hung_disk", ..NO_FUSE },
    Limit {
        scenario: "io_uring",
        backend: None,
        here: || !twtrace_kit::actor::io_uring::can_be(),
        lack: Lack::Kernel,
        reason: "needs io_uring, which this kernel does not let anybody have",
    },
    Limit { scenario: "screen_shows_the_load", ..NO_TERMINAL },
    Limit { scenario: "screen_gives_the_terminal_back", ..NO_TERMINAL },
    Limit { scenario: "screen_fits_the_terminal", ..NO_TERMINAL },
    Limit { scenario: "screen_beside_hung_arguments", ..NO_TERMINAL },
    Limit {
        scenario: "serve_prometheus",
        backend: None,
        here: || !(installed("prometheus") && installed("promtool")),
        lack: Lack::Program,
        reason: "needs prometheus and promtool, which guests do not have",
    },
    Limit {
        scenario: "container_names",
        backend: None,
        here: || !["podman", "runc", "perl"].into_iter().all(installed),
        lack: Lack::Program,
        reason: "needs podman, runc and perl, which guests do not have",
    },
    Limit {
        scenario: "pod_names",
        backend: None,
        here: || !["containerd", "ctr", "runc", "perl", "curl"].into_iter().all(installed),
        lack: Lack::Program,
        reason: "needs containerd, runc, perl and curl, which guests do not have",
    },
    Limit {
        scenario: "serve_exports",
        backend: None,
        here: || !(installed("curl") && installed("openssl")),
        lack: Lack::Program,
        reason: "needs curl and openssl, which guests do not have",
    },
    Limit {
        scenario: "record_ctrl_c",
        backend: None,
        here: || !std::path::Path::new("/dev/pts/ptmx").exists(),
        lack: Lack::Terminal,
        reason: "needs a terminal, and no devpts is mounted here",
    },
    Limit { scenario: "load", ..NO_WEB_SERVER },
    Limit { scenario: "doctor_healthy_load", ..NO_WEB_SERVER },
    Limit { scenario: "keep_alive", ..NO_WEB_SERVER },
    Limit {
        scenario: "keep_alive",
        backend: None,
        here: || kernel::counts_creations().is_ok_and(|counts| !counts),
        lack: Lack::Kernel,
        reason: "this kernel does not count TIME_WAIT sockets when they are made",
    },
];

fn installed(program: &str) -> bool {
    on_path(program).is_some()
}

/// Why this scenario cannot be asked of this backend on the running kernel; `None` where it can.
pub(crate) fn skip(scenario: &str, backend: &str) -> Option<Skip> {
    let limit = LIMITS.iter().find(|limit| {
        limit.scenario == scenario && limit.backend.is_none_or(|only| only == backend) && (limit.here)()
    })?;
    Some(Skip { lack: limit.lack, reason: limit.reason })
}
