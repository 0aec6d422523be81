//! Makes real TCP situations with exact outcomes and checks that twtrace tells them right.
//!
//! Owns: the command line.
//! Must not know: scenarios, twtrace, the kernel.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use nix::sys::signal::Signal;
use twtrace_kit::Cannot;
use twtrace_kit::child::heed;
use twtrace_scenarios::around::{self, Tracefs};
use twtrace_scenarios::sandbox::Sandbox;
use twtrace_scenarios::scenarios::{self, ALL, Kind, Scenario};
use twtrace_scenarios::tracer::Setup;
use twtrace_scenarios::{children, instructions, run};

#[derive(Parser)]
#[command(about = "Makes real TCP situations with exact outcomes and checks that twtrace tells them right")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name all scenarios
    List,
    /// Make connections in processes that are gone at once, then exit as told; a command for recordings
    #[command(hide = true)]
    Make { count: u32, exit: u8 },
    /// Write a line for each SIGINT, and exit with 5 a while after the first; a command for recordings
    #[command(hide = true)]
    Count { file: PathBuf },
    /// Count the instructions that tracing adds to a connection, in a guest whose clock counts them
    #[command(hide = true)]
    Instructions(instructions::Args),
    /// Do nothing until a signal comes; a command for recordings
    #[command(hide = true)]
    Wait,
    /// Run scenarios, all but the heavy ones where none is named; needs root
    Run {
        /// How twtrace attaches
        #[arg(long, value_enum, default_value = "auto")]
        backend: Backend,
        /// The twtrace to test [default: the one beside this program]
        #[arg(long, value_name = "PATH")]
        twtrace: Option<PathBuf>,
        /// Stands before the backend in each line, to tell kernels apart
        #[arg(long, value_name = "KERNEL")]
        label: Option<String>,
        /// Scenarios that run at a time: most of them wait most of the time
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
        jobs: u8,
        /// Whether tracefs is mounted, in a mount namespace of this run
        #[arg(long, value_enum, default_value = "as-is")]
        tracefs: Tracefs,
        /// Play what failed once more, by itself, and say so: for emulated machines, which stand still for seconds at times
        #[arg(long)]
        again: bool,
        /// Run them in another order each time, or in that of an earlier run's seed: none may need what another left behind
        #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true)]
        shuffle: Option<Option<u64>>,
        /// Of what is not asked of every kernel with every backend, only what falls to this kernel: 0 to 3
        #[arg(long, value_name = "KERNEL", value_parser = clap::value_parser!(u8).range(..4), conflicts_with = "scenarios")]
        deal: Option<u8>,
        /// Names as `list` prints them
        #[arg(value_name = "SCENARIO")]
        scenarios: Vec<String>,
    },
    /// Print what the live view shows of a real load; needs root and tmux
    Picture {
        /// The twtrace to show [default: the one beside this program]
        #[arg(long, value_name = "PATH")]
        twtrace: Option<PathBuf>,
        /// Width of the terminal
        #[arg(long, default_value_t = 80)]
        columns: u16,
        /// Its height
        #[arg(long, default_value_t = 24)]
        lines: u16,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Auto,
    Fentry,
    Kprobe,
    Tracepoint,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Its turn where scenarios are dealt out to backends.
    fn turn(self) -> usize {
        match self {
            Self::Auto | Self::Fentry => 0,
            Self::Kprobe => 1,
            Self::Tracepoint => 2,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Tracers are ended by it.
    if let Err(error) = heed(Signal::SIGINT) {
        return status(Err(error), 0);
    }
    perform(cli.command)
}

fn perform(command: Command) -> ExitCode {
    match command {
        Command::List => {
            for scenario in ALL {
                let note = match scenario.kind {
                    Kind::Heavy => " (heavy, only when named)",
                    Kind::Boot => " (for a guest that was booted for it, only when named)",
                    Kind::Once => " (with auto and fentry, or when named)",
                    _ => "",
                };
                println!("{}{note}", scenario.name);
            }
            ExitCode::SUCCESS
        }
        Command::Make { count, exit } => status(children::make(count), exit),
        Command::Count { file } => status(children::count_interrupts(&file), children::COUNTED),
        Command::Instructions(args) => status(instructions::run(&args), 0),
        Command::Wait => loop {
            nix::unistd::pause();
        },
        Command::Picture { twtrace, columns, lines } => {
            finish(Backend::Auto, picture(twtrace, columns, lines))
        }
        Command::Run { backend, twtrace, label, jobs, tracefs, again, shuffle, deal, scenarios } => {
            let run = |setup: &Setup| {
                let mut chosen = choose(&scenarios, backend, deal)?;
                shuffle.into_iter().for_each(|seed| mix(&mut chosen, seed));
                around::arrange(tracefs)?;
                run::run(&chosen, setup, label.as_deref(), (jobs.into(), again))
            };
            finish(backend, prepare(backend, twtrace).and_then(|setup| run(&setup)))
        }
    }
}

fn status(done: Result<()>, exit: u8) -> ExitCode {
    match done {
        Ok(()) => ExitCode::from(exit),
        Err(error) => {
            eprintln!("twtrace-scenarios: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what the screen shows, without what is empty at the end of its lines.
fn picture(twtrace: Option<PathBuf>, columns: u16, lines: u16) -> Result<bool> {
    let mut sandbox = Sandbox::new(prepare(Backend::Auto, twtrace)?)?;
    let text = scenarios::picture(&mut sandbox, columns, lines)?;
    text.lines().for_each(|line| println!("{}", line.trim_end()));
    Ok(true)
}

fn prepare(backend: Backend, twtrace: Option<PathBuf>) -> Result<Setup> {
    let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("twtrace"));
    // Absolute, because some scenarios start it from elsewhere.
    let path = twtrace.map_or_else(beside, Ok)?;
    let twtrace =
        path.canonicalize().with_context(|| format!("no twtrace at {}; --twtrace PATH", path.display()))?;
    Ok(Setup { twtrace, backend: backend.name().to_owned() })
}

fn choose(names: &[String], backend: Backend, deal: Option<u8>) -> Result<Vec<Scenario>> {
    if names.is_empty() {
        let wanted = |(index, scenario): &(usize, &Scenario)| match scenario.kind {
            Kind::Heavy | Kind::Boot => false,
            Kind::Once => {
                matches!(backend, Backend::Auto | Backend::Fentry) && falls_to(deal, *index, KERNELS, 0)
            }
            Kind::Own => {
                falls_to(deal, *index, KERNELS / 2, 0) && falls_to(deal, *index, BACKENDS, backend.turn())
            }
            Kind::Shared | Kind::SharedLast => true,
        };
        return Ok(ALL.iter().enumerate().filter(wanted).map(|(_, scenario)| *scenario).collect());
    }
    let mut chosen = Vec::new();
    for name in names {
        match ALL.iter().find(|scenario| scenario.name == name) {
            Some(scenario) => chosen.push(*scenario),
            None => bail!("no scenario {name:?}; `twtrace-scenarios list` names them all"),
        }
    }
    Ok(chosen)
}

/// Kernels among which scenarios are dealt out.
const KERNELS: usize = 4;

/// Backends among which each kernel's are.
const BACKENDS: usize = 3;

/// Whether the scenario of that index falls to this kernel's backend: each scenario to one of `turns` of its cells, so that all are
/// played somewhere, and neighbours in different cells.
fn falls_to(deal: Option<u8>, index: usize, turns: usize, turn: usize) -> bool {
    deal.is_none_or(|kernel| (index + usize::from(kernel)) % turns == turn)
}

/// Brings them into an order that the seed decides.
fn mix(scenarios: &mut [Scenario], seed: Option<u64>) {
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("in the order of --shuffle={seed}");
    fastrand::Rng::with_seed(seed).shuffle(scenarios);
}

fn finish(backend: Backend, result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => match error.downcast_ref::<Cannot>() {
            Some(Cannot(stderr)) => {
                println!("backend {} cannot run here: {}", backend.name(), stderr.trim());
                ExitCode::from(Cannot::STATUS)
            }
            None => {
                eprintln!("twtrace-scenarios: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealt_out_all_are_played_and_what_needs_no_backend_once() {
        let mut times_run = std::collections::BTreeMap::new();
        for kernel in 0..4 {
            for backend in [Backend::Fentry, Backend::Kprobe, Backend::Tracepoint] {
                for scenario in choose(&[], backend, Some(kernel)).unwrap() {
                    *times_run.entry(scenario.name).or_insert(0) += 1;
                }
            }
        }
        for scenario in ALL {
            let times = match scenario.kind {
                Kind::Shared | Kind::SharedLast => 12,
                Kind::Own => 2,
                Kind::Once => 1,
                Kind::Heavy | Kind::Boot => 0,
            };
            assert_eq!(times_run.get(scenario.name).copied().unwrap_or(0), times, "{}", scenario.name);
        }
    }
}
