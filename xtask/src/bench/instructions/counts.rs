//! What was counted: instructions of each load, beside nothing and beside each backend in each mode.
//!
//! Owns: the lines that `twtrace-scenarios instructions` prints, what follows from them, and where they are kept.
//! Must not know: budgets, how it is shown.

use crate::vm::counting::Counted;
use crate::{project, sh};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Command;

/// What a line of a result starts with.
const MARK: &str = "count: ";

/// A line of a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) load: String,
    pub(super) backend: Option<String>,
    pub(super) mode: Option<String>,
    /// Connections of a round.
    pub(super) connections: u64,
    /// Instructions of each round.
    pub(super) rounds: Vec<u64>,
    /// In all rounds.
    #[serde(default)]
    pub(super) programs: Vec<Program>,
}

/// What one BPF program did beside one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) runs: u64,
    pub(super) instructions: u64,
}

#[derive(Deserialize)]
struct Trouble {
    backend: String,
    mode: String,
    trouble: String,
}

/// All lines of one kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kernel {
    /// `6.12`
    pub(super) label: String,
    pub(super) release: String,
    /// The commit that was counted.
    pub(super) commit: String,
    pub(super) lines: Vec<Line>,
}

/// All kernels.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) kernels: Vec<Kernel>,
}

impl Counts {
    /// Takes in what a guest counted; returns what it could not.
    pub(super) fn add(&mut self, counted: &Counted) -> Result<Vec<String>> {
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        for text in counted.text.lines().filter_map(|line| line.strip_prefix(MARK)) {
            if let Ok(Trouble { backend, mode, trouble }) = serde_json::from_str(text) {
                problems.push(format!("{} {backend} {mode}: {trouble}", counted.label));
            } else {
                let line = serde_json::from_str(text);
                lines.push(
                    line.with_context(|| format!("the guest said `{text}`, which nobody understands"))?,
                );
            }
        }
        self.kernels.push(Kernel {
            label: counted.label.clone(),
            release: counted.release.clone(),
            commit: commit(),
            lines,
        });
        Ok(problems)
    }

    /// Keeps it for the page; what was counted of the same kernel before and not now stays.
    pub(super) fn keep(&self) -> Result<()> {
        let mut all = Self::kept()?;
        for new in &self.kernels {
            match all.kernels.iter_mut().find(|old| old.label == new.label) {
                Some(old) if old.commit == new.commit => old.merge(new),
                Some(old) => *old = new.clone(),
                None => all.kernels.push(new.clone()),
            }
        }
        let path = scratch();
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(&path, serde_json::to_vec(&all)?).with_context(|| path.display().to_string())
    }

    /// What was kept.
    pub(super) fn kept() -> Result<Self> {
        let path = scratch();
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

impl Kernel {
    /// The line of a load beside this, or beside nothing.
    pub(super) fn line(&self, load: &str, beside: Option<(&str, &str)>) -> Option<&Line> {
        self.lines.iter().find(|line| line.load == load && line.beside() == beside)
    }

    /// Instructions of one connection beside nothing.
    pub(super) fn untraced(&self, load: &str) -> Option<f64> {
        self.line(load, None).map(Line::each)
    }

    /// Instructions that tracing adds to one connection.
    pub(super) fn added(&self, load: &str, backend: &str, mode: &str) -> Option<f64> {
        Some(self.line(load, Some((backend, mode)))?.each() - self.untraced(load)?)
    }

    /// Backend and mode of all that was counted, in that order.
    pub(super) fn arms(&self) -> Vec<(&str, &str)> {
        let mut arms = Vec::new();
        for arm in self.lines.iter().filter_map(Line::beside) {
            if !arms.contains(&arm) {
                arms.push(arm);
            }
        }
        arms
    }

    fn merge(&mut self, new: &Kernel) {
        self.lines.retain(|old| new.line(&old.load, old.beside()).is_none());
        self.lines.extend(new.lines.iter().cloned());
        self.release = new.release.clone();
    }
}

impl Line {
    fn beside(&self) -> Option<(&str, &str)> {
        Some((self.backend.as_deref()?, self.mode.as_deref()?))
    }

    /// Connections of all rounds.
    pub(super) fn total(&self) -> f64 {
        self.connections as f64 * self.rounds.len() as f64
    }

    /// Instructions of one connection. Of an agent that works, the mean: it works in batches, which are all to be paid for. Else
    /// the median of the rounds: what the kernel does now and then for other reasons would only be noise.
    fn each(&self) -> f64 {
        let works = ["record", "events", "live"].map(Some).contains(&self.mode.as_deref());
        let mut rounds = self.rounds.clone();
        rounds.sort_unstable();
        let round = match rounds.len() {
            0 => 0.0,
            n if works => rounds.iter().sum::<u64>() as f64 / n as f64,
            n => (rounds[(n - 1) / 2] + rounds[n / 2]) as f64 / 2.0,
        };
        round / self.connections as f64
    }
}

fn scratch() -> PathBuf {
    project::target_dir().join("overhead/instructions.json")
}

/// The commit that lies here, or that there is none.
fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short=9", "HEAD"]).current_dir(project::root());
    sh::read(&mut git).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 10 connections of 100 instructions, beside fentry 123.
    pub(in super::super) fn counts() -> Counts {
        let text = r#"
count: {"load":"client","backend":null,"mode":null,"connections":10,"rounds":[990,1000,5000]}
count: {"load":"client","backend":"fentry","mode":"held","connections":10,"rounds":[1230]}
count: {"load":"client","backend":"fentry","mode":"programs","connections":10,"rounds":[1500],"programs":[{"name":"state","runs":35,"instructions":140}]}
count: {"backend":"kprobe","mode":"held","trouble":"no kprobes"}
"#;
        let counted =
            Counted { label: "6.12".to_owned(), release: "6.12.9".to_owned(), text: text.to_owned() };
        let mut counts = Counts::default();
        assert_eq!(counts.add(&counted).unwrap(), ["6.12 kprobe held: no kprobes"]);
        counts
    }

    #[test]
    fn what_tracing_adds_is_what_is_more_than_untraced() {
        let counts = counts();
        let kernel = &counts.kernels[0];
        assert_eq!(kernel.untraced("client"), Some(100.0));
        assert_eq!(kernel.added("client", "fentry", "held"), Some(23.0));
        assert_eq!(kernel.added("server", "fentry", "held"), None);
        assert_eq!(kernel.arms(), [("fentry", "held"), ("fentry", "programs")]);
    }

    #[test]
    fn a_later_count_takes_the_place_of_an_earlier_one() {
        let mut old = counts().kernels.remove(0);
        let mut new = old.clone();
        new.lines.truncate(2);
        new.lines[1].rounds = vec![1110];
        old.merge(&new);
        assert_eq!(old.added("client", "fentry", "held"), Some(11.0));
        assert_eq!(old.lines.len(), 3);
    }
}
