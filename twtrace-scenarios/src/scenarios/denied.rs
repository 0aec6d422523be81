//! Owns: scenarios for guests whose kernel denies something to everybody: lockdown, no BTF, hidden addresses.
//! Must not know: how a guest gets into that state (`xtask/src/vm/states.rs`); each asks the machine whether it is in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::surroundings::{all_is_told, output, refuses};
use crate::world::World;

fn ensure_says(path: &str, what: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    ensure!(text.contains(what), "{path} says {text:?}, not {what:?}: this guest was not booted for it");
    Ok(())
}

/// A trace of a moment.
fn events(world: &World) -> Result<std::process::Output> {
    let args = ["events", "--json", "--duration", "200ms", "--backend", &world.setup.backend];
    output(&world.setup.twtrace, &args, || Ok(()))
}

/// Programs may not read the kernel's memory.
pub(super) fn by_confidentiality(world: &mut World) -> Result<()> {
    ensure_says("/sys/kernel/security/lockdown", "[confidentiality]")?;
    let said = events(world)?;
    refuses(world, &said, &["lockdown is at confidentiality"], "lockdown=integrity")
}

/// At integrity nothing of it is denied.
pub(super) fn not_by_integrity(world: &mut World) -> Result<()> {
    ensure_says("/sys/kernel/security/lockdown", "[integrity]")?;
    all_is_told(world, || Ok(()))
}

/// Without the kernel's types no field can be found.
pub(super) fn without_btf(world: &mut World) -> Result<()> {
    let btf = "/sys/kernel/btf/vmlinux";
    ensure!(!Path::new(btf).exists(), "{btf} is there: this guest was not booted for it");
    let said = events(world)?;
    refuses(world, &said, &[btf], "CONFIG_DEBUG_INFO_BTF")
}

/// Where functions are hooked, addresses serve to tell why sockets end early, and that they are missing is told; else nothing goes
/// without them.
pub(super) fn hidden_addresses(world: &mut World) -> Result<()> {
    ensure_says("/proc/sys/kernel/kptr_restrict", "2")?;
    let said = events(world)?;
    if !said.status.success() {
        return refuses(world, &said, &["kptr_restrict is 2"], "sysctl -w kernel.kptr_restrict=1");
    }
    let stdout = String::from_utf8(said.stdout)?;
    ensure!(
        stdout.contains("end_reasons") && stdout.contains("kernel.kptr_restrict=1"),
        "no limitation is told: {stdout}"
    );
    Ok(())
}
