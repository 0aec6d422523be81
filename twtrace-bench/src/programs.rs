//! What each BPF program takes, by the kernel's own statistics, in a pass of its own: counting costs time itself.
//!
//! Owns: this pass. Must not know: what the programs do.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use twtrace_kit::bpf::returning::{AttachPoint, Hook, Returning, hooks};
use twtrace_kit::bpf::{self, Info, Statistics, programs_of};

use crate::arms::{Heard, Process, Running};
use crate::bench::Bench;
use crate::generator::First;
use crate::loads::flat_out;
use crate::model::{Arm, Program, ProgramLoad};
use crate::site::{Counters, Generated, Traffic as _};

/// Both ways, with our own generator.
pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let statistics = match Statistics::enable() {
        Ok(statistics) => statistics,
        Err(error) => {
            bench.absent("programs", &error);
            return Ok(());
        }
    };
    for first in [First::Client, First::Server] {
        let mut generated = flat_out(bench, first)?;
        let name = match first {
            First::Client => "client-first",
            First::Server => "server-first",
        };
        let done = one(bench, name, &mut generated);
        if let Some(load) = bench.report.case(&format!("programs::{name}"), done)? {
            bench.report.progress(&format!("programs: {name}"));
            bench.results.programs.push(load);
        }
    }
    drop(statistics);
    Ok(())
}

fn one(bench: &Bench, name: &str, generated: &mut Generated) -> Result<ProgramLoad> {
    let mut floor = Vec::new();
    if bench.arms.contains(&Arm::Floor)
        && let Running::Floor(running) = Running::start(Arm::Floor, &bench.tools)?
    {
        let ask = || running.iter().map(Returning::info).collect::<Result<Vec<Info>>>();
        let before = ask()?;
        generated.run()?;
        let both = before.iter().zip(ask()?);
        let targets = running.iter().map(|empty| empty.target.clone());
        floor = targets.zip(both).map(|(target, (before, after))| program(target, before, after)).collect();
    }
    let process = Process::start(Arm::Events, &bench.tools)?;
    let ids = programs_of(process.pid())?;
    let attach_points = attach_points(&hooks(process.pid())?);
    let ask = || ids.iter().map(|id| Ok((*id, bpf::info(*id)?))).collect::<Result<BTreeMap<u32, Info>>>();
    let (before, counters) = (ask()?, Counters::read()?);
    let made = generated.run()?;
    let (after, created) = (ask()?, Counters::read()?.since(&counters).created);
    let connections = made.count;
    process.stop(&Heard { site: generated.site(), made: &made, created })?;
    let mut programs = Vec::new();
    for (id, info) in after {
        let before = before.get(&id).context("a program came from nowhere")?;
        programs.push(program(attach_points.get(&id).cloned().unwrap_or_default(), before, info));
    }
    anyhow::ensure!(programs.iter().any(|program| program.runs > 0), "no program ran");
    programs.sort_by_key(|program| std::cmp::Reverse(program.run_ns));
    Ok(ProgramLoad { load: name.to_owned(), connections, programs, floor })
}

fn program(target: String, before: &Info, after: Info) -> Program {
    Program {
        name: after.name,
        target,
        runs: after.runs - before.runs,
        run_ns: after.run_ns - before.run_ns,
        verified: after.verified,
        bytes: after.bytes,
    }
}

/// Where each program is attached, in words.
fn attach_points(hooks: &[Hook]) -> BTreeMap<u32, String> {
    let mut attach_points = BTreeMap::<u32, String>::new();
    for hook in hooks {
        let name = match &hook.attach_point {
            AttachPoint::Tracepoint(name) | AttachPoint::Other(name) => name.clone(),
            // Its name says it.
            AttachPoint::Function(..) => String::new(),
        };
        let words = attach_points.entry(hook.program).or_default();
        if !words.is_empty() {
            words.push_str(", ");
        }
        words.push_str(&name);
    }
    attach_points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_is_not_billed() {
        let info = |runs, run_ns| Info { name: "x".to_owned(), runs, run_ns, verified: Some(7), bytes: 11 };
        let program = program("timer_start".to_owned(), &info(100, 5000), info(107, 6000));
        assert_eq!((program.runs, program.run_ns, program.verified), (7, 1000, Some(7)));
    }

    #[test]
    fn a_program_in_two_places_says_both() {
        let hook = |program, name: &str| Hook {
            program,
            name: "x".to_owned(),
            attach_point: AttachPoint::Other(name.to_owned()),
        };
        let attach_points = attach_points(&[hook(7, "a"), hook(8, "b"), hook(7, "c")]);
        assert_eq!((attach_points[&7].as_str(), attach_points[&8].as_str()), ("a, c", "b"));
    }
}
