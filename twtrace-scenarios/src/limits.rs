//! Owns: the one list of what truly cannot be told, by scenario, backend and kernel, each with its reason. It is the
//! only way to skip a scenario.
//! Must not know: how scenarios run.

use crate::kernel;

/// One thing that cannot be told.
struct Limit {
    scenario: &'static str,
    /// `None`: no backend can.
    backend: Option<&'static str>,
    /// Asked of the running kernel.
    here: fn() -> bool,
    reason: &'static str,
}

/// The guests' initramfs has a handful of programs.
const NO_TERMINAL: Limit = Limit {
    scenario: "",
    backend: None,
    here: || !(installed("tmux") && installed("stty")),
    reason: "needs a terminal: tmux and stty, which guests do not have",
};

const LIMITS: &[Limit] = &[
    Limit {
        scenario: "doctor_nothing_wrong",
        backend: None,
        here: kernel::is_emulated,
        reason: "looks at a few seconds of traffic, which are too short for an emulated machine",
    },
    Limit {
        scenario: "killed_by_ss",
        backend: None,
        here: || !kernel::can_kill_time_wait(),
        reason: "this kernel cannot end a TIME_WAIT socket on request (no tcp_diag with SOCK_DESTROY, or before 6.1)",
    },
    Limit { scenario: "screen_shows_the_load", ..NO_TERMINAL },
    Limit { scenario: "screen_gives_the_terminal_back", ..NO_TERMINAL },
    Limit { scenario: "screen_fits_the_terminal", ..NO_TERMINAL },
    Limit {
        scenario: "record_ctrl_c",
        backend: None,
        here: || !std::path::Path::new("/dev/pts/ptmx").exists(),
        reason: "needs a terminal, and no devpts is mounted here",
    },
    Limit {
        scenario: "load",
        backend: None,
        here: || !(installed("nginx") && installed("ab")),
        reason: "needs nginx and ab",
    },
    Limit {
        scenario: "doctor_healthy_load",
        backend: None,
        here: || !(installed("nginx") && installed("ab")),
        reason: "needs nginx and ab",
    },
];

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Why this scenario cannot be asked of this backend on the running kernel; `None` where it can.
pub fn skip(scenario: &str, backend: &str) -> Option<&'static str> {
    let limit = LIMITS.iter().find(|limit| {
        limit.scenario == scenario && limit.backend.is_none_or(|only| only == backend) && (limit.here)()
    })?;
    Some(limit.reason)
}
