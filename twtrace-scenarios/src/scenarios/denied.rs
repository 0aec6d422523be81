//! Owns: scenarios for guests whose kernel denies something to everybody: lockdown, no BTF, hidden addresses.
//! Must not know: how a guest gets into that state (`xtask/src/vm/states.rs`); each asks the machine whether it is in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::surroundings::{all_is_told, output, refuses};
use crate::sandbox::Sandbox;

fn ensure_says(path: &str, what: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    ensure!(text.contains(what), "{path} says {text:?}, not {what:?}: this guest was not booted for it");
    Ok(())
}

/// A trace of a moment.
fn events(sandbox: &Sandbox) -> Result<std::process::Output> {
    let args = ["events", "--json", "--duration", "200ms", "--backend", &sandbox.setup.backend];
    output(&sandbox.setup.twtrace, &args, || Ok(()))
}

/// Programs may not read the kernel's memory.
pub(super) fn by_confidentiality(sandbox: &mut Sandbox) -> Result<()> {
    ensure_says("/sys/kernel/security/lockdown", "[confidentiality]")?;
    let said = events(sandbox)?;
    refuses(sandbox, &said, &["lockdown is at confidentiality"], "lockdown=integrity")
}

/// At integrity nothing of it is denied.
pub(super) fn not_by_integrity(sandbox: &mut Sandbox) -> Result<()> {
    ensure_says("/sys/kernel/security/lockdown", "[integrity]")?;
    all_is_told(sandbox, || Ok(()))
}

/// Without the kernel's types no field can be found.
pub(super) fn without_btf(sandbox: &mut Sandbox) -> Result<()> {
    let btf = "/sys/kernel/btf/vmlinux";
    ensure!(!Path::new(btf).exists(), "{btf} is there: this guest was not booted for it");
    let said = events(sandbox)?;
    refuses(sandbox, &said, &[btf], "CONFIG_DEBUG_INFO_BTF")
}

/// Where functions are hooked, addresses serve to tell why sockets end early, and that they are missing is told; else nothing goes
/// without them.
pub(super) fn hidden_addresses(sandbox: &mut Sandbox) -> Result<()> {
    ensure_says("/proc/sys/kernel/kptr_restrict", "2")?;
    let said = events(sandbox)?;
    if !said.status.success() {
        return refuses(sandbox, &said, &["kptr_restrict is 2"], "sysctl -w kernel.kptr_restrict=1");
    }
    let stdout = String::from_utf8(said.stdout)?;
    ensure!(
        stdout.contains("end_reasons") && stdout.contains("kernel.kptr_restrict=1"),
        "no limitation is told: {stdout}"
    );
    Ok(())
}
