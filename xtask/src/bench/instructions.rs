//! `cargo xtask bench --instructions`: how many instructions tracing adds to a connection, counted in guests, held against the
//! budgets.
//!
//! Owns: what is counted by default, in CI, and what makes it fail. `counts` is what was counted, `budgets` what may be,
//! `page` what it looks like. Must not know: how it is counted (`twtrace-scenarios instructions` in a guest of `vm::counting`).

mod budgets;
mod counts;
mod page;

use crate::arch::Arch;
use crate::scenarios::{Counted, Tally};
use crate::{project, vm};
use anyhow::{Result, bail};
use budgets::{Budgets, Verdict};
use counts::Counts;
pub(super) use page::carry_over;
use std::path::{Path, PathBuf};

/// Loads, in the order of tables.
const LOADS: [&str; 4] = ["client", "server", "passive", "keep-alive"];
/// Modes, in the order of tables.
const MODES: [&str; 6] = ["floor", "held", "programs", "record", "events", "live"];
/// Rounds of each load, of which the median counts, and connections of each. Where an agent runs there are more of them: a round must be
/// longer than the agent's pauses, or it has none of its work in it, or twice as much.
const ROUNDS: u32 = 7;
const CONNECTIONS: u32 = 307;
const CONNECTIONS_OF_AGENTS: u32 = 613;
/// Modes in which no agent runs.
const STILL: [&str; 3] = ["floor", "held", "programs"];

/// What CI counts, in every run of the tests: the kernel side alone, of a backend that needs no syscall and one that has nothing
/// but tracepoints.
const IN_CI: (&str, [&str; 2], &str) = ("6.12", ["fentry", "tracepoint"], "held");

/// What to count.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) kernels: Vec<String>,
    pub(super) backends: Vec<String>,
    pub(super) modes: Vec<String>,
    pub(super) connections: Option<u32>,
    /// Take what was counted last, and count nothing.
    pub(super) render: bool,
    /// Write the section of docs/overhead.md.
    pub(super) write_docs: bool,
    /// Take what was counted for a budget where there is none or a higher one.
    pub(super) lower_budgets: bool,
    pub(super) no_build: bool,
}

/// Runs the command.
///
/// # Errors
/// Where something cannot be counted, or is above its budget.
pub(super) fn main(wish: &Wish, object: Option<&Path>) -> Result<()> {
    let (counts, problems) = if wish.render { (Counts::kept()?, Vec::new()) } else { count(wish, object)? };
    println!("\n{}", page::tables(&counts));
    if !wish.render {
        counts.keep()?;
    }
    if wish.lower_budgets {
        let mut budgets = Budgets::read()?;
        let changed = budgets.lower(&counts);
        budgets.write()?;
        println!("bench: {changed} budgets are lower or new in {}", budgets::path().display());
    }
    let verdicts = Budgets::read()?.judge(&counts);
    let over: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.is_over()).collect();
    verdicts.iter().filter(|verdict| verdict.is_worth_telling()).for_each(|verdict| println!("{verdict}"));
    if wish.write_docs {
        page::write(&Counts::kept()?)?;
        println!("bench: the section of docs/overhead.md is written");
    }
    problems.iter().for_each(|problem| println!("not counted: {problem}"));
    if !over.is_empty() || !problems.is_empty() {
        bail!("{} above their budgets, {} not counted", over.len(), problems.len());
    }
    Ok(())
}

/// What CI holds against the budgets, each as a test case.
///
/// # Errors
/// Where the guest does not come to its end.
pub(super) fn check(object: Option<&Path>) -> Result<Counted> {
    let (kernel, backends, mode) = IN_CI;
    let wish = Wish {
        kernels: vec![kernel.to_owned()],
        backends: backends.map(str::to_owned).to_vec(),
        modes: vec![mode.to_owned()],
        ..Wish::default()
    };
    let (counts, problems) = count(&wish, object)?;
    println!("\n{}", page::tables(&counts));
    let verdicts = Budgets::read()?.judge(&counts);
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    let over = verdicts.iter().filter(|verdict| verdict.is_over());
    let uncounted = problems.iter().map(|problem| format!("not counted: {problem}"));
    let failures: Vec<String> = over.map(Verdict::to_string).chain(uncounted).collect();
    let wanted = backends.len() * LOADS.len();
    if verdicts.len() < wanted {
        bail!("{} budgets were held against what was counted, not {wanted}", verdicts.len());
    }
    let passed = (verdicts.len() + problems.len() - failures.len()) as u64;
    Ok(Counted { tally: Tally { passed, failed: failures.len() as u64, skipped: 0 }, failures })
}

fn connections(modes: &[String]) -> u32 {
    let is_still = !modes.is_empty() && modes.iter().all(|mode| STILL.contains(&mode.as_str()));
    if is_still { CONNECTIONS } else { CONNECTIONS_OF_AGENTS }
}

fn count(wish: &Wish, object: Option<&Path>) -> Result<(Counts, Vec<String>)> {
    let programs: PathBuf = match wish.no_build {
        true => project::target_dir().join("x86_64-unknown-linux-gnu/release"),
        false => vm::build_programs(Arch::Amd64)?,
    };
    let or_all = |wanted: &[String], all: &[&str]| match wanted {
        [] => all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(),
        wanted => wanted.to_vec(),
    };
    let words = |backend: String| {
        vec![
            "--backends".to_owned(),
            backend,
            "--modes".to_owned(),
            or_all(&wish.modes, &MODES).join(","),
            "--loads".to_owned(),
            LOADS.join(","),
            "--rounds".to_owned(),
            ROUNDS.to_string(),
            "--connections".to_owned(),
            wish.connections.unwrap_or(connections(&wish.modes)).to_string(),
        ]
    };
    let mut counts = Counts::default();
    let mut problems = Vec::new();
    // Each in a guest of its own, so that none finds what another has left.
    let all_words: Vec<_> = or_all(&wish.backends, &vm::BACKENDS).into_iter().map(words).collect();
    for counted in vm::counting::run(&wish.kernels, &all_words, &programs, object)? {
        problems.extend(counts.add(&counted)?);
    }
    Ok((counts, problems))
}
