//! How many instructions tracing may add to a connection: one file, a budget for each kernel, backend, mode and load.
//!
//! Owns: xtask/budgets.toml, and what above, below and worth lowering is. Must not know: how it is counted.

use super::counts::Counts;
use crate::project;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A new budget is what was counted and this share of it: two runs of the same program differ by less. And at least so many
/// instructions, where little is counted.
const ALLOWANCE: (f64, f64) = (0.005, 40.0);
/// The same where an agent runs: when it wakes depends on all that went before, and moves with each build.
const ALLOWANCE_OF_AGENTS: (f64, f64) = (0.15, 1000.0);
/// A budget that is higher than what was counted by this share is worth lowering.
const SLACK: f64 = 0.03;

const HEADER: &str = "\
# Instructions that tracing may add to a connection, both ends together (keep-alive: to a request), by kernel, backend and mode.
# `cargo xtask bench --instructions` counts them and fails above a budget; the tests count 6.12, fentry and tracepoint, held.
# `cargo xtask bench --instructions --lower-budgets` lowers what can be lowered; raising one is done by hand, with a reason in
# the commit. What is counted moves from build to build, and with what else a guest is asked for (all lies elsewhere in memory): by up to some
# 550, of 6.12, fentry, held, client by 870 (2,699 to 3,568), and by a tenth where an agent runs. A budget leaves room for that.
";

/// A budget by load.
type ByLoad = BTreeMap<String, u64>;

/// All budgets: by kernel, backend, mode, load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Budgets(BTreeMap<String, BTreeMap<String, BTreeMap<String, ByLoad>>>);

/// What one budget says of what was counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    name: String,
    mode: String,
    counted: f64,
    budget: u64,
}

pub(super) fn path() -> PathBuf {
    project::root().join("xtask/budgets.toml")
}

impl Budgets {
    pub(super) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(path()).with_context(|| path().display().to_string())?;
        toml::from_str(&text).with_context(|| path().display().to_string())
    }

    pub(super) fn write(&self) -> Result<()> {
        std::fs::write(path(), self.text()).with_context(|| path().display().to_string())
    }

    fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (kernel, backends) in &self.0 {
            for (backend, modes) in backends {
                text += &format!("\n[\"{kernel}\".{backend}]\n");
                for (mode, loads) in modes {
                    let loads: Vec<String> =
                        loads.iter().map(|(load, budget)| format!("{load} = {budget}")).collect();
                    text += &format!("{mode} = {{ {} }}\n", loads.join(", "));
                }
            }
        }
        text
    }

    /// A verdict on each count that has a budget.
    pub(super) fn judge(&self, counts: &Counts) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for ([kernel, backend, mode, load], counted) in added(counts) {
            let budget = self.0.get(&kernel).and_then(|b| b.get(&backend)?.get(&mode)?.get(&load));
            if let Some(budget) = budget {
                let name = format!("{kernel} {backend} {mode} {load}");
                verdicts.push(Verdict { name, mode, counted, budget: *budget });
            }
        }
        verdicts
    }

    /// Takes over what is lower than a budget, or has none; returns how many those are.
    pub(super) fn lower(&mut self, counts: &Counts) -> usize {
        let mut changed = 0;
        for ([kernel, backend, mode, load], counted) in added(counts) {
            let new = allowed(&mode, counted);
            let loads =
                self.0.entry(kernel).or_default().entry(backend).or_default().entry(mode).or_default();
            if loads.get(&load).is_none_or(|old| new < *old) {
                loads.insert(load, new);
                changed += 1;
            }
        }
        changed
    }
}

fn allowed(mode: &str, counted: f64) -> u64 {
    let (share, least) = if super::STILL.contains(&mode) { ALLOWANCE } else { ALLOWANCE_OF_AGENTS };
    // Tracing may seem to add less than nothing where it adds nothing.
    let counted = counted.max(0.0);
    (counted + (counted * share).max(least)).ceil() as u64
}

/// All that is held against budgets: kernel, backend, mode, load, and what tracing adds.
fn added(counts: &Counts) -> Vec<([String; 4], f64)> {
    let mut all = Vec::new();
    for kernel in &counts.kernels {
        // Statistics cost instructions of their own, and the floor is the kernel's.
        let arms = kernel.arms().into_iter().filter(|(_, mode)| !["programs", "floor"].contains(mode));
        for (backend, mode) in arms {
            for load in super::LOADS {
                if let Some(added) = kernel.added(load, backend, mode) {
                    all.push(([&kernel.label, backend, mode, load].map(str::to_owned), added));
                }
            }
        }
    }
    all
}

impl Verdict {
    /// Whether more was counted than may be.
    pub(super) fn is_over(&self) -> bool {
        self.counted > self.budget as f64
    }

    /// Whether somebody should do something about it.
    pub(super) fn is_worth_telling(&self) -> bool {
        let slack = (self.budget as f64) - allowed(&self.mode, self.counted) as f64;
        self.is_over() || slack > SLACK * self.budget as f64
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, mode, counted, budget } = self;
        write!(f, "budget {name}: {counted:.0} of {budget}")?;
        if self.is_over() {
            let over = counted - *budget as f64;
            write!(f, ", ABOVE by {over:.0}, {:.1} %", over / (*budget).max(1) as f64 * 100.0)?;
        } else if self.is_worth_telling() {
            write!(f, ", can be lowered to {}", allowed(mode, *counted))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::tests::counts;
    use super::*;

    fn budget(client: u64) -> Budgets {
        toml::from_str(&format!("[\"6.12\".fentry]\nheld = {{ client = {client}, server = 7 }}\n")).unwrap()
    }

    #[test]
    fn what_is_above_its_budget_says_by_how_much() {
        let [verdict] = &budget(20).judge(&counts())[..] else { panic!("one was counted and has a budget") };
        assert!(verdict.is_over());
        assert_eq!(verdict.to_string(), "budget 6.12 fentry held client: 23 of 20, ABOVE by 3, 15.0 %");
        assert!(!budget(23).judge(&counts())[0].is_over());
        let slack = budget(100).judge(&counts())[0].to_string();
        assert_eq!(slack, "budget 6.12 fentry held client: 23 of 100, can be lowered to 63");
    }

    #[test]
    fn budgets_are_lowered_and_never_raised_and_are_written_as_they_are_read() {
        let mut low = budget(20);
        assert_eq!((low.lower(&counts()), &low), (0, &budget(20)));
        let mut high = budget(1000);
        assert_eq!((high.lower(&counts()), &high), (1, &budget(63)));
        assert_eq!(toml::from_str::<Budgets>(&high.text()).unwrap(), high);
        assert_eq!(Budgets::default().clone().lower(&counts()), 1);
    }

    #[test]
    fn the_file_can_be_read() {
        assert!(!Budgets::read().unwrap().0.is_empty());
    }
}
