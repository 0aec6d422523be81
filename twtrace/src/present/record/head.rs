//! Owns: what a recording says of itself when it begins: the machine, the backend, the filters, the command.
//! Must not know: events, files.

use super::Setup;
use crate::host::machine::Machine;
use crate::recording::{self, Head};

/// The head of a recording that is made as `setup` says, by `backend`.
pub(super) fn head(setup: &Setup, backend: &str) -> Head {
    let Machine { name, machine_id, boot_id, kernel } = Machine::read();
    let command = setup.command.as_ref();
    Head {
        twtrace: env!("CARGO_PKG_VERSION").to_owned(),
        host: name,
        machine_id,
        kernel,
        boot_id,
        backend: backend.to_owned(),
        filters: setup.filters.clone(),
        only_command: setup.cgroup.is_some(),
        command: command.map(|command| recording::Command { argv: command.argv(), uid: command.uid() }),
        ..Head::default()
    }
}
