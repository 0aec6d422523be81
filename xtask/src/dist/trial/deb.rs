//! The `.deb`: it installs with nothing else there, starts nothing, and goes without a trace.
//!
//! Owns: what apt and dpkg are asked. Must not know: how a root is made.

use super::root::Root;
use super::{Artefacts, FILES};
use anyhow::{Result, ensure};

/// Installed as README says.
pub(super) fn installs(made: &Artefacts, root: &Root) -> Result<()> {
    let file = root.take_in(&made.deb())?;
    let said = root
        .read(&format!("cd /tmp; apt-get install --yes --quiet .{} 2>&1", file.trim_start_matches("/tmp")))?;
    let listed = root.read("dpkg --listfiles twtrace")?;
    let own = ["/usr/share/zsh/vendor-completions/_twtrace", "/usr/share/man/man1/twtrace.1.gz"];
    for wanted in FILES.iter().chain(&own) {
        ensure!(listed.lines().any(|line| line == *wanted), "it has no {wanted}:\n{listed}");
    }
    let changed = root.read("dpkg --verify twtrace")?;
    ensure!(changed.is_empty(), "dpkg --verify: {changed}");
    let enabled = root.read("find /etc/systemd -name 'twtrace*'")?;
    ensure!(enabled.is_empty(), "the service was enabled: {enabled}\n{said}");
    Ok(())
}

/// Purged as apt does it, after its service has run and its configuration was changed.
pub(super) fn purges(root: &Root) -> Result<()> {
    root.read("echo '# mine' >> /etc/twtrace/twtrace.toml; mkdir -p /var/lib/private/twtrace; ln -s private/twtrace /var/lib/twtrace; \
               : > /var/lib/twtrace/twtrace.0.twt")?;
    root.read("apt-get remove --yes --quiet twtrace")?;
    let kept = root.read(
        "grep mine /etc/twtrace/twtrace.toml; ls /var/lib/private/twtrace; command -v twtrace || echo gone",
    )?;
    ensure!(kept == "# mine\ntwtrace.0.twt\ngone\n", "a removal that is no purge left: {kept}");
    root.read("apt-get purge --yes --quiet twtrace; rmdir --ignore-fail-on-non-empty /var/lib/private 2> /dev/null || :")?;
    root.is_as_before(&[])
}
