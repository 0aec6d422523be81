//! Owns: counting the instructions that tracing adds to a connection, in a guest whose clock counts instructions
//! (`qemu -icount`: one is one nanosecond): which loads run beside what, and the line that is told of each. `loads` makes
//! them, `agent` is what runs beside.
//! Must not know: how the guest came to be, what is made of the numbers (`cargo xtask bench --instructions` does both).

mod agent;
mod loads;
mod peer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use twtrace_kit::wait::pass;

use agent::Agent;
pub use loads::Load;
use loads::Machine;

/// What a line of a result starts with.
const MARK: &str = "count: ";

/// Tasks of the agent's start that are not the load's to pay for end within this time.
const SETTLED: Duration = Duration::from_secs(1);

/// What runs beside a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Programs that only return, where twtrace has its own.
    Floor,
    /// `twtrace record`, held still: the kernel side alone.
    Held,
    /// As `held`, with the kernel's statistics of each program, which cost instructions themselves.
    Programs,
    /// `twtrace record`.
    Record,
    /// `twtrace events --json`.
    Events,
    /// `twtrace --plain`.
    Live,
}

/// What to count.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The twtrace to count
    #[arg(long)]
    twtrace: PathBuf,
    /// How it attaches
    #[arg(long, value_delimiter = ',', required = true)]
    backends: Vec<String>,
    /// What runs beside the loads
    #[arg(long, value_delimiter = ',', required = true)]
    modes: Vec<Mode>,
    /// Which loads
    #[arg(long, value_delimiter = ',', required = true)]
    loads: Vec<Load>,
    /// Rounds of each load
    #[arg(long)]
    rounds: u32,
    /// Connections of each round
    #[arg(long)]
    connections: u32,
}

/// One load beside one thing.
#[derive(Serialize)]
struct Line<'a> {
    load: Load,
    /// `None` beside nothing.
    backend: Option<&'a str>,
    mode: Option<Mode>,
    /// Connections of a round, or requests.
    connections: u32,
    /// Instructions of each round.
    rounds: Vec<u64>,
    /// Each program's runs and instructions in all rounds, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    programs: Vec<agent::Program>,
}

/// Something that could not be counted, or not be trusted.
#[derive(Serialize)]
struct Trouble<'a> {
    backend: &'a str,
    mode: Mode,
    trouble: String,
}

/// Counts everything that was asked for.
///
/// # Errors
/// Where the machine cannot be made ready. What fails beside one agent is told, and the next is tried.
pub fn run(args: &Args) -> Result<()> {
    let cmdline = std::fs::read_to_string("/proc/cmdline")?;
    ensure!(
        cmdline.contains("twtrace.instructions="),
        "this changes settings of the whole machine and means something only where a clock counts instructions: \
         `cargo xtask bench --instructions` runs it in a guest"
    );
    let mut machine = Machine::set_up()?;
    for load in &args.loads {
        // The first run of anything finds the kernel's allocators empty.
        machine.prepare(*load)?;
        machine.run(*load, 1, args.connections)?;
        let line = Line::measure(&mut machine, *load, args, None)?;
        tell(&line);
    }
    for backend in &args.backends {
        for mode in &args.modes {
            if let Err(error) = beside(&mut machine, args, backend, *mode) {
                tell(&Trouble { backend, mode: *mode, trouble: format!("{error:#}") });
            }
        }
    }
    Ok(())
}

/// All loads beside one agent.
fn beside(machine: &mut Machine, args: &Args, backend: &str, mode: Mode) -> Result<()> {
    let mut agent = Agent::start(&args.twtrace, backend, mode)?;
    for load in &args.loads {
        let mut line = Line::measure(machine, *load, args, Some(&mut agent))?;
        (line.backend, line.mode) = (Some(backend), Some(mode));
        tell(&line);
    }
    agent.stop().context("at its end")
}

impl Line<'_> {
    fn measure(machine: &mut Machine, load: Load, args: &Args, agent: Option<&mut Agent>) -> Result<Self> {
        machine.prepare(load)?;
        pass(SETTLED);
        let connections = args.connections;
        let mut run = || machine.run(load, args.rounds, connections);
        let (rounds, programs) = match agent {
            None => (run()?, Vec::new()),
            Some(agent) => {
                agent.begin()?;
                (run()?, agent.programs()?)
            }
        };
        Ok(Self { load, backend: None, mode: None, connections, rounds, programs })
    }
}

fn tell(line: &impl Serialize) {
    let text = serde_json::to_string(line).unwrap_or_else(|error| format!("{{\"trouble\":\"{error}\"}}"));
    println!("{MARK}{text}");
}
