//! `cargo xtask bench`: what twtrace costs a busy server, beside no tracer and beside another one.
//!
//! Owns: the rounds and their order. Must not know: how the load is made, how a tracer is measured.
//!
//! Speeds of one machine drift by more than a tracer costs. So untraced and traced runs take turns, the order within
//! a round turns about as well, and ratios are taken round by round.

mod load;
mod screen;
mod table;
mod tracer;

use crate::{project, sh};
use anyhow::{Result, ensure};
use std::process::Command;
use table::{Arm, Sample};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many times each is run
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Requests in a run, each a connection of its own
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// Connections open at a time
    #[arg(long, default_value_t = 50)]
    concurrency: u64,
    /// How twtrace attaches
    #[arg(long, default_value = "auto")]
    backend: String,
    /// Only what the live view costs
    #[arg(long)]
    screen: bool,
    /// Take twtrace as it was built last
    #[arg(long)]
    no_build: bool,
}

/// Runs the command; the table goes to stdout, everything else to stderr.
pub(crate) fn main(args: &Args) -> Result<()> {
    if !args.no_build {
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--locked", "-p", "twtrace"]);
        sh::run(build.current_dir(project::root()))?;
    }
    if !nix::unistd::geteuid().is_root() {
        let own = std::env::current_exe()?;
        let given = std::env::args_os().skip(1);
        return sh::run(sh::as_root(&own.to_string_lossy())?.args(given).arg("--no-build"));
    }
    ensure!(args.rounds > 0, "--rounds 0 measures nothing");
    if args.screen {
        return screen::main(&args.backend);
    }
    server(args)?;
    println!();
    screen::main(&args.backend)
}

/// What it costs a busy server.
fn server(args: &Args) -> Result<()> {
    let site = load::Site::open()?;
    let mut arms = vec![Arm::Untraced, Arm::Twtrace];
    if sh::which("tcpstates").is_some() {
        arms.push(Arm::Tcpstates);
    } else {
        eprintln!("bench: no tcpstates here to compare with (package libbpf-tools)");
    }
    // Fills the table of TIME_WAIT sockets, so that the first round finds what the others find.
    site.load(args.requests, args.concurrency)?;
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        let mut samples = Vec::new();
        let turn = round % arms.len();
        for arm in arms.iter().cycle().skip(turn).take(arms.len()) {
            let sample = measure(*arm, &site, args)?;
            eprintln!(
                "bench: round {} of {}: {arm:?}: {:.0} requests/s",
                round + 1,
                args.rounds,
                sample.speed
            );
            samples.push((*arm, sample));
        }
        rounds.push(samples);
    }
    println!("{}", heading(args)?);
    print!("{}", table::render(&arms, &rounds));
    Ok(())
}

fn measure(arm: Arm, site: &load::Site, args: &Args) -> Result<Sample> {
    let load = || site.load(args.requests, args.concurrency);
    match arm {
        Arm::Untraced => Ok(Sample { speed: load()?, traced: None }),
        Arm::Twtrace => tracer::twtrace(&project::target_dir().join("release/twtrace"), &args.backend, load),
        Arm::Tcpstates => tracer::tcpstates(load),
    }
}

fn heading(args: &Args) -> Result<String> {
    let kernel = sh::read(Command::new("uname").args(["-r", "-m"]))?;
    let cpus = std::thread::available_parallelism()?;
    Ok(format!(
        "{} requests to nginx by `ab -c {}` without keep-alive, {} rounds, on Linux {} with {cpus} CPUs\n",
        args.requests,
        args.concurrency,
        args.rounds,
        kernel.trim()
    ))
}
