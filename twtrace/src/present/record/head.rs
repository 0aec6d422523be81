//! Owns: what a recording says of itself when it begins: the machine, the backend, the filters, the command.
//! Must not know: events, files.

use super::recorder::Setup;
use crate::recording::{self, Head};

/// The head of a recording that is made as `setup` says, by `backend`.
pub(super) fn head(setup: &Setup, backend: &str) -> Head {
    let name = nix::sys::utsname::uname().ok();
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let command = setup.command.as_ref();
    Head {
        twtrace: env!("CARGO_PKG_VERSION").to_owned(),
        host: name.as_ref().map_or_else(String::new, |name| text(name.nodename())),
        kernel: name.as_ref().map_or_else(String::new, |name| text(name.release())),
        boot_id: boot_id.trim().to_owned(),
        backend: backend.to_owned(),
        filters: setup.filters.clone(),
        only_command: setup.cgroup.is_some(),
        command: command.map(|command| recording::Command { argv: command.argv(), uid: command.uid() }),
        ..Head::default()
    }
}
