//! `cargo xtask vm`: the scenarios on other kernels, each in a guest under software emulation.
//!
//! Owns: which kernels and backends are run, and what may not work where. Must not know: what a scenario does.

mod console;
pub(crate) mod counting;
mod cpio;
mod guest;
mod initramfs;
mod kernels;
pub(crate) mod mirror;
mod states;
mod version;

pub(crate) use initramfs::build_programs;

use crate::arch::Arch;
use crate::matrix::{Cell, Machine, Matrix};
use crate::project;
use crate::scenarios::Run;
use anyhow::{Context, Result, bail};
use guest::{Guest, Plan};
use kernels::Kernel;
use states::{PLAIN, STATES, State};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The backends of twtrace, in the order in which `auto` tries them.
pub(crate) const BACKENDS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];

/// What need not work: architecture, series of the kernel, backend, and why. On x86-64 all four kernels can do all three.
const EXPECTED_TO_REFUSE: [(Arch, &str, &str, &str); 1] =
    [(Arch::Arm64, "6.1", "fentry", "arm64 has had what fentry needs, ftrace's direct calls, since 6.4")];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the guests are; arm64: kernels 6.1 and 6.12, and of the scenarios a core, as every instruction is emulated
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Arch,
    /// A kernel: a series (5.10, 6.1, 6.12, 7.x) or a version of Debian's cloud kernel; may be repeated [default: all]
    #[arg(long = "kernel", value_name = "SERIES|VERSION")]
    kernels: Vec<String>,
    /// A state to boot in, such as no-tracefs or lockdown-integrity; may be repeated [default: plain]
    #[arg(long = "boot", value_name = "STATE", value_parser = state)]
    states: Vec<&'static State>,
    /// Further parameters for the kernel
    #[arg(long, value_name = "PARAMETERS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// A backend, or auto; may be repeated [default: all]
    #[arg(long = "backend", value_parser = ["auto", "fentry", "kprobe", "tracepoint"])]
    backends: Vec<String>,
    /// Seconds after which a guest is ended
    #[arg(long, default_value_t = 2400, value_name = "SECONDS")]
    deadline: u64,
    /// How many guests run at a time
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
    /// Of scenarios that start a twtrace of their own, only some with each kernel and backend, so that each is played somewhere
    #[arg(long, conflicts_with = "scenarios")]
    deal: bool,
    /// Scenarios to run [default: those of the state; in the plain one all that are not left to be named]
    scenarios: Vec<String>,
}

fn state(name: &str) -> Result<&'static State, String> {
    let names = || STATES.iter().map(|state| state.name).collect::<Vec<_>>().join(", ");
    states::named(name).ok_or_else(|| format!("there are: {}", names()))
}

impl Args {
    /// Every kernel, every backend, every scenario, and each state on the kernels that it is tested on. With `deal`, those that start a
    /// twtrace of their own are dealt out to kernels and backends.
    pub(crate) fn everything(deal: bool) -> Args {
        Args {
            arch: Arch::Amd64,
            kernels: Vec::new(),
            states: STATES.iter().collect(),
            append: String::new(),
            backends: Vec::new(),
            deadline: 2400,
            jobs: 2,
            deal,
            scenarios: Vec::new(),
        }
    }

    fn plan(&self, kernel: usize, state: &'static State) -> Plan {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let backends = match (&self.backends[..], state.backends) {
            ([], []) => owned(&BACKENDS),
            ([], of_state) => owned(of_state),
            (asked, _) => asked.to_vec(),
        };
        let scenarios = if self.scenarios.is_empty() {
            owned(state.scenarios_on(self.arch))
        } else {
            self.scenarios.clone()
        };
        let deadline = Duration::from_secs(self.deadline);
        let deal = Some(kernel).filter(|_| self.deal && scenarios.is_empty());
        Plan { state, append: self.append.clone(), backends, scenarios, deal, deadline }
    }

    /// What is booted: every kernel in every state that was asked for, or that all tests include.
    fn boots<'a>(&self, kernels: &'a [Kernel]) -> Vec<(&'a Kernel, Plan)> {
        let plain = || states::named(PLAIN).into_iter().collect();
        let states = if self.states.is_empty() { plain() } else { self.states.clone() };
        // Those that take longest come first.
        let numbered = || kernels.iter().enumerate();
        let pairs = states.iter().flat_map(|state| numbered().map(move |kernel| (kernel, *state)));
        let is_wanted = |kernel: &Kernel, state: &State| {
            !self.kernels.is_empty() || self.states.len() == 1 || state.is_tested_on(&kernel.label)
        };
        pairs
            .filter(|((_, kernel), state)| is_wanted(kernel, state))
            .map(|((number, kernel), state)| (kernel, self.plan(number, state)))
            .collect()
    }
}

/// Runs the command.
pub(crate) fn main(args: &Args) -> Result<()> {
    let object = std::env::var_os("TWTRACE_BPF_OBJECT").map(PathBuf::from);
    let matrix = run(args, object.as_deref(), None)?;
    println!("\n{}", matrix.table());
    let tally = matrix.tally();
    println!("{tally}");
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

/// Runs guests and says how each kernel and backend did. `program` is the twtrace that is tried; none: one that is built for it.
///
/// # Errors
/// Where guests cannot be prepared or started; failures inside are in the matrix.
pub(crate) fn run(args: &Args, bpf_object: Option<&Path>, program: Option<&Path>) -> Result<Matrix> {
    let kernels = kernels::get(&args.kernels, args.arch)?;
    let programs = initramfs::build_programs(args.arch)?;
    let program = program.map_or_else(|| programs.join("twtrace"), Path::to_owned);
    let contents = initramfs::Contents::new(&programs, &program, args.arch, bpf_object)?;
    let boots = args.boots(&kernels);
    let boot = |(kernel, plan): &(&Kernel, Plan)| guest::run(kernel, &contents.archive(kernel)?, plan);
    let mut matrix = Matrix::default();
    for ((kernel, plan), guest) in boots.iter().zip(in_parallel(&boots, args.jobs, boot)) {
        let guest = guest.with_context(|| format!("kernel {}, {}", kernel.version, plan.state.name))?;
        keep(&guest)?;
        report(&guest, plan, &mut matrix);
    }
    Ok(matrix)
}

/// Maps `items`, `jobs` at a time; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(items.iter().enumerate());
    let next = || queue.lock().expect("no thread panics while it takes the next item").next();
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, item)) = next() {
                    let result = work(item);
                    results.lock().expect("no thread panics while it adds a result").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("all threads have ended well");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Puts what a guest handed out where it can be looked at.
fn keep(guest: &Guest) -> Result<()> {
    let dir = project::target_dir().join("vm/files");
    for (name, bytes) in &guest.console.files {
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let path = dir.join(name);
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        println!("vm: {}: {} bytes in {}", guest.kernel.version, bytes.len(), path.display());
    }
    Ok(())
}

fn report(guest: &Guest, plan: &Plan, matrix: &mut Matrix) {
    let kernel = guest.console.release.as_deref().unwrap_or(&guest.kernel.version);
    let state = plan.state;
    println!("vm: {kernel}, {}: took {} s, log in {}", state.name, guest.took.as_secs(), guest.log.display());
    for note in &guest.console.notes {
        println!("vm: {kernel}: note: {}", note.escape_debug());
    }
    for problem in &guest.console.problems {
        println!("vm: {kernel}: PROBLEM: {}", problem.escape_debug());
    }
    let machine = Machine::new(kernel, state.name, state.has_tracefs());
    matrix.problems(&machine, &guest.console.problems);
    for backend in &plan.backends {
        let cell = match guest.console.runs.iter().find(|(name, _)| name == backend) {
            None => Cell::Broken("was not run".to_owned()),
            Some((_, Run::Cannot(reason))) => match expected(&guest.kernel, backend) {
                Some(why) => Cell::Cannot(format!("{reason} ({why})")),
                None => Cell::Broken(format!("refused, but it should work here: {reason}")),
            },
            Some((_, run)) => Cell::Ran(run.clone()),
        };
        matrix.add(&machine, backend, cell);
    }
}

fn expected(kernel: &Kernel, backend: &str) -> Option<&'static str> {
    EXPECTED_TO_REFUSE
        .iter()
        .find(|(arch, series, name, _)| {
            *arch == kernel.arch && version::belongs(&kernel.version, series) && *name == backend
        })
        .map(|(_, _, _, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..23).collect();
        assert_eq!(in_parallel(&items, 3, |n| n * 7), items.iter().map(|n| n * 7).collect::<Vec<_>>());
        assert!(in_parallel(&[] as &[u64], 2, |n| *n).is_empty());
    }
}
