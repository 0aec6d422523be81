//! `cargo xtask dist --test`: what was made is installed, run, removed, and traces.
//!
//! Owns: the order of trials and what their lines look like. Must not know: what each does.

mod archive;
mod image;
mod load;
mod packages;
mod program;
mod root;

use super::Artefacts;
use crate::scenarios::Tally;
use anyhow::{Result, bail};
use root::Root;

/// A trial that this machine cannot serve; why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Skipped(String);

/// Files of the package, without those of which each package has its own place.
const FILES: [&str; 9] = [
    "/etc/twtrace/twtrace.toml",
    "/usr/bin/twtrace",
    "/usr/lib/systemd/system/twtrace.service",
    "/usr/share/bash-completion/completions/twtrace",
    "/usr/share/doc/twtrace/LICENSE-MIT",
    "/usr/share/doc/twtrace/LICENSE-APACHE",
    "/usr/share/doc/twtrace/THIRD-PARTY.txt",
    "/usr/share/doc/twtrace/README.md",
    "/usr/share/fish/vendor_completions.d/twtrace.fish",
];

/// What was tried so far.
#[derive(Default)]
struct Trials {
    tally: Tally,
}

impl Trials {
    /// Tries one thing, and says how it went.
    fn case(&mut self, name: &str, trial: impl FnOnce() -> Result<()>) {
        let outcome = match trial() {
            Ok(()) => {
                self.tally.passed += 1;
                "ok".to_owned()
            }
            Err(error) => match error.downcast_ref::<Skipped>() {
                Some(Skipped(reason)) => {
                    self.tally.skipped += 1;
                    format!("skipped: {reason}")
                }
                None => {
                    self.tally.failed += 1;
                    format!("FAILED\n    {}", format!("{error:#}").replace('\n', "\n    "))
                }
            },
        };
        println!("test dist::{name} ... {outcome}");
    }

    /// Says how all went.
    fn end(&self) -> Result<()> {
        println!("{}", self.tally);
        if self.tally.failed > 0 {
            bail!("{} failed", self.tally.failed);
        }
        Ok(())
    }
}

/// Tries everything that this machine can run.
///
/// # Errors
/// Where something failed.
pub(super) fn run(made: &Artefacts) -> Result<()> {
    let mut trials = Trials::default();
    trials.case("sums_are_those_of_the_files", || archive::sums(made));
    trials.case("binary_needs_no_library", || archive::is_static(made));
    trials.case("archive_has_pages_and_completions", || archive::is_whole(made));
    trials.case("bill_names_what_is_linked", || archive::bill(made));
    if !made.arch.is_own() {
        // A root and an image of another architecture take an emulator that the kernel starts by itself.
        let why = "this machine does not run programs of that architecture";
        for name in ["program_records_here", "packages", "image_runs_and_traces_the_host"] {
            trials.case(name, || Err(Skipped(why.to_owned()).into()));
        }
        return trials.end();
    }
    trials.case("program_records_here", || program::records(made));
    match Root::fresh() {
        Ok(root) => {
            trials.case("deb_installs_in_a_fresh_debian", || packages::deb_installs(made, &root));
            trials.case("deb_checks_there", || root.checks(made));
            trials.case("deb_purges_to_nothing", || packages::deb_purges(&root));
            trials.case("rpm_installs", || packages::rpm_installs(made, &root));
            trials.case("rpm_removes_to_nothing", || packages::rpm_removes(&root));
        }
        Err(error) => {
            let text = format!("no fresh Debian root: {error:#}");
            trials.case("packages", || if error.is::<Skipped>() { Err(error) } else { bail!(text) });
        }
    }
    trials.case("image_runs_and_traces_the_host", || image::traces(made));
    trials.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_tried_is_no_failure_and_what_fails_is_one() {
        let mut trials = Trials::default();
        trials.case("works", || Ok(()));
        trials.case("cannot", || Err(Skipped("no root".to_owned()).into()));
        trials.case("fails", || bail!("broken"));
        assert_eq!(trials.tally, Tally { passed: 1, failed: 1, skipped: 1 });
    }
}
