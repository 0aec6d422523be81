//! The packages: the `.deb` installs with nothing else there, starts nothing, and goes without a trace; of the `.rpm` what is in it, and that it
//! installs into a root and goes again, scripts and all.
//!
//! Owns: what apt, dpkg and rpm are asked. Must not know: how a root is made.

use std::process::Command;

use anyhow::{Result, ensure};

use super::root::Root;
use super::{Artefacts, FILES};
use crate::sh;

/// Installed as README says.
pub(super) fn deb_installs(made: &Artefacts, root: &Root) -> Result<()> {
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
pub(super) fn deb_purges(root: &Root) -> Result<()> {
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

/// Folders for completions: where there is rpm, they are of these shells' packages; in this root there are none of them.
const SHELLS: [&str; 4] = [
    "/usr/share/fish",
    "/usr/share/fish/vendor_completions.d",
    "/usr/share/zsh",
    "/usr/share/zsh/site-functions",
];

/// rpm, with its books in the root; its own package of /bin/sh is not among them.
fn rpm(root: &Root) -> Result<Command> {
    let mut command = sh::as_root("rpm")?;
    command.arg("--root").arg(root.dir()).args(["--dbpath", "/var/lib/rpm"]);
    Ok(command)
}

/// Its digests hold, it lists what it should, and installs.
pub(super) fn rpm_installs(made: &Artefacts, root: &Root) -> Result<()> {
    let ask = |args: &[&str]| sh::read(Command::new("rpm").args(args).arg(made.rpm()));
    let digests = ask(&["--checksig", "--nosignature"])?;
    ensure!(digests.contains("digests OK"), "rpm --checksig: {digests}");
    let listed = ask(&["--query", "--list", "--package"])?;
    let own = ["/usr/share/zsh/site-functions/_twtrace", "/usr/share/man/man1/twtrace.1.gz"];
    for wanted in FILES.iter().chain(&own) {
        ensure!(listed.lines().any(|line| line == *wanted), "it has no {wanted}:\n{listed}");
    }
    let needs = ask(&["--query", "--requires", "--package"])?;
    let own = ["rpmlib(", "config(twtrace)", "/bin/sh"];
    let foreign = needs.lines().find(|need| !own.iter().any(|own| need.starts_with(own)));
    ensure!(foreign.is_none(), "it needs more than a shell:\n{needs}");
    let configuration = ask(&["--query", "--configfiles", "--package"])?;
    ensure!(configuration == "/etc/twtrace/twtrace.toml\n", "its configuration: {configuration}");
    let scripts = ask(&["--query", "--scripts", "--package"])?;
    for wanted in ["postinstall", "preuninstall", "postuninstall"] {
        ensure!(scripts.contains(wanted), "it has no {wanted} script:\n{scripts}");
    }
    sh::read(rpm(root)?.args(["--install", "--nodeps"]).arg(made.rpm()))?;
    let changed = sh::read(rpm(root)?.args(["--verify", "--nodeps", "twtrace"]))?;
    ensure!(changed.is_empty(), "rpm --verify: {changed}");
    let said = root.read("twtrace --version")?;
    ensure!(said == format!("twtrace {}\n", super::super::VERSION), "it says: {said}");
    Ok(())
}

/// Removed, nothing of its own is left.
pub(super) fn rpm_removes(root: &Root) -> Result<()> {
    sh::read(rpm(root)?.args(["--erase", "twtrace"]))?;
    root.is_as_before(&SHELLS)
}
