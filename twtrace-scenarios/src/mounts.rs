//! Owns: how the machine's mounts look to one run of the scenarios, in a mount namespace of that run.
//! Must not know: scenarios, twtrace. Nothing outside of the run ever sees it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Where tracefs belongs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// File systems that a machine has only where somebody has mounted them.
const PREPARED: [&str; 3] = ["tracefs", "debugfs", "bpf"];

/// Whether tracefs is mounted for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tracefs {
    /// As this machine has it.
    AsIs,
    /// It is.
    Mounted,
    /// It is not, and neither are debugfs and bpffs: as on a machine that nobody has prepared.
    Unmounted,
}

/// Makes it so for this process and what it starts. The calling process must have one thread.
///
/// # Errors
/// Where it is refused: root is needed.
pub fn arrange(tracefs: Tracefs) -> Result<()> {
    if tracefs == Tracefs::AsIs {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS), which needs CAP_SYS_ADMIN")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("keeping mounts private")?;
    let text = fs::read_to_string("/proc/self/mounts")?;
    if tracefs == Tracefs::Unmounted {
        for target in prepared(&text) {
            umount2(Path::new(target), MntFlags::MNT_DETACH)
                .with_context(|| format!("unmounting {target}"))?;
        }
    } else if !text.lines().any(|line| line.split(' ').nth(1) == Some(TRACEFS)) {
        mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting tracefs on {TRACEFS}"))?;
    }
    Ok(())
}

/// Where [`PREPARED`] are mounted, each before what it was mounted on.
fn prepared(mounts: &str) -> Vec<&str> {
    let mut targets: Vec<&str> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (target, kind) = (fields.next()?, fields.next()?);
            PREPARED.contains(&kind).then_some(target)
        })
        .collect();
    targets.reverse();
    targets
}

#[cfg(test)]
mod tests {
    use super::prepared;

    #[test]
    fn what_was_mounted_last_goes_first() {
        let mounts = "sysfs /sys sysfs rw 0 0\ndebugfs /sys/kernel/debug debugfs rw 0 0\n\
            tracefs /sys/kernel/debug/tracing tracefs rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(prepared(mounts), ["/sys/fs/bpf", "/sys/kernel/debug/tracing", "/sys/kernel/debug"]);
    }
}
