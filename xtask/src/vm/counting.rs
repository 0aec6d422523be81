//! A guest in which a clock counts instructions, with `twtrace-scenarios instructions` in it.
//!
//! Owns: what such a machine is like. Must not know: what is counted, what is made of it.

use super::guest::Boot;
use super::{initramfs, kernels};
use crate::arch::Arch;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;
use twtrace_kit::command::tail;

/// One CPU, and one instruction a nanosecond of the guest's time, which does not go on by itself: where nothing runs, it jumps.
/// All that a guest could find by chance is given, so that two runs are the same as far as can be.
const MACHINE: [&str; 12] = [
    "-accel",
    "tcg,thread=single",
    "-icount",
    "shift=0,sleep=off",
    "-seed",
    "11",
    "-rtc",
    "base=2026-01-01,clock=vm",
    "-m",
    "1536",
    "-smp",
    "1",
];

/// A guest is ended after this long, in this machine's time.
const DEADLINE: Duration = Duration::from_secs(2400);

/// What one guest counted.
pub(crate) struct Counted {
    /// What its kernel was asked for by.
    pub(crate) label: String,
    /// The release of the kernel that ran.
    pub(crate) release: String,
    /// What `twtrace-scenarios instructions` printed.
    pub(crate) text: String,
}

/// Runs `twtrace-scenarios instructions` on each kernel with each of `all_words`, one after the other, each in a guest of its own.
///
/// # Errors
/// Where a guest cannot be prepared, or does not come to its end.
pub(crate) fn run(
    labels: &[String],
    all_words: &[Vec<String>],
    programs: &Path,
    bpf_object: Option<&Path>,
) -> Result<Vec<Counted>> {
    let contents = initramfs::Contents::new(programs, &programs.join("twtrace"), Arch::Amd64, bpf_object)?;
    let mut all = Vec::new();
    for kernel in kernels::get(labels, Arch::Amd64)? {
        let archive = contents.archive(&kernel)?;
        for words in all_words {
            let boot = Boot {
                kernel: &kernel,
                archive: &archive,
                // The kernel's address and the stacks' are not left to chance either.
                words: format!("nokaslr norandmaps twtrace.instructions={}", words.join(";")),
                machine: &MACHINE,
                suffix: "-count",
                deadline: DEADLINE,
                shown: |line| line.starts_with("count: {\"backend\""),
            };
            let (text, log) = boot.run()?;
            let text = text.replace('\r', "");
            let counted = Counted::read(&kernel.label, &text);
            all.push(counted.with_context(|| format!("kernel {}: see {}", kernel.version, log.display()))?);
        }
    }
    Ok(all)
}

impl Counted {
    fn read(label: &str, console: &str) -> Result<Counted> {
        let after = |mark: &str| console.split_once(mark).map(|(_, rest)| rest);
        let release = after("@@guest kernel ").and_then(|rest| rest.lines().next());
        let text = after("@@guest begin count\n").context("it did not come to counting")?;
        let (text, rest) =
            text.split_once("@@guest end count ").context("it did not come to the end of counting")?;
        let code = rest.lines().next().unwrap_or_default();
        ensure!(code == "0", "`twtrace-scenarios instructions` ended with {code}: {}", tail(text));
        Ok(Counted {
            label: label.to_owned(),
            release: release.context("it named no kernel")?.to_owned(),
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_lies_between_two_marks() {
        let console =
            "@@guest kernel 6.12\n\n@@guest begin count\ncount: {}\n\n@@guest end count 0\n@@guest done\n";
        let counted = Counted::read("6.12", console).unwrap();
        assert_eq!((counted.release.as_str(), counted.text.trim()), ("6.12", "count: {}"));
        assert!(Counted::read("6.12", &console.replace("count 0", "count 1")).is_err());
        assert!(Counted::read("6.12", &console[..50]).is_err());
    }
}
