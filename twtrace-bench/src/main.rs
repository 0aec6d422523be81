//! Measures what tracing costs, and writes the page that says it. `cargo xtask bench` builds and runs it.
//!
//! Owns: the command line. Must not know: how anything is measured or shown.

mod arms;
mod bench;
mod generator;
mod growth;
mod loads;
mod machine;
mod measure;
mod model;
mod page;
mod plan;
mod plot;
mod process;
mod programs;
mod report;
mod serving;
mod site;
mod stats;
mod suite;
mod unloaded;
mod web;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use model::Results;
use nix::sys::signal::Signal;
use twtrace_kit::Cannot;
use twtrace_kit::child::heed;

#[derive(Parser)]
#[command(about = "Measures what tracing costs, and writes the page that says it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure; needs root
    Run(Run),
    /// Write the page anew from what was measured before
    Render {
        /// `results.json` of a run; of further ones, what the first has not
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// Where page and plots go
        #[arg(long)]
        output: PathBuf,
    },
    /// Measure `twtrace serve` against its goals and print what came out; needs root
    Serve(serving::Args),
    /// A generator of connections
    #[command(hide = true)]
    Generate(generator::Shape),
}

#[derive(clap::Args)]
struct Run {
    /// The twtrace to measure
    #[arg(long)]
    twtrace: PathBuf,
    /// Its example `frame`, built
    #[arg(long)]
    frame: PathBuf,
    /// Its example `synthetic`, built
    #[arg(long)]
    synthetic: PathBuf,
    /// Where page, plots and results go
    #[arg(long)]
    output: PathBuf,
    /// What was typed to get here, for the page
    #[arg(long, default_value = "twtrace-bench run")]
    typed: String,
    /// How twtrace attaches
    #[arg(long, default_value = "auto")]
    backend: String,
    /// How often each is run
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// One short iteration of everything, each told as a test case
    #[arg(long)]
    quick: bool,
    /// Only these
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Seconds of the soak
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Tracers are ended by it.
    match heed(Signal::SIGINT).and_then(|()| perform(cli.command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("twtrace-bench: {error:#}");
            match error.downcast_ref::<Cannot>() {
                Some(_) => ExitCode::from(Cannot::STATUS),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn perform(command: Command) -> Result<bool> {
    match command {
        Command::Run(args) => run(&args),
        Command::Render { results, output } => render(&results, &output).map(|()| true),
        Command::Serve(args) => serving::measure(&args).map(|()| true),
        Command::Generate(shape) => generator::serve(&shape).map(|()| true),
    }
}

fn run(args: &Run) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "measuring needs root");
    ensure!(args.rounds > 0, "--rounds 0 measures nothing");
    if !twtrace_kit::kernel::has_first_pids()? {
        let why = "in a PID namespace (a container) the kernel tells other pids than processes see";
        return Err(Cannot(why.to_owned()).into());
    }
    // Others are run in folders of their own.
    let absolute = |path: &PathBuf| path.canonicalize().with_context(|| path.display().to_string());
    let (twtrace, frame) = (absolute(&args.twtrace)?, absolute(&args.frame)?);
    let synthetic = absolute(&args.synthetic)?;
    std::fs::create_dir_all(&args.output)?;
    let task = suite::Task {
        plan: if args.quick { plan::Plan::quick() } else { plan::Plan::whole(args.rounds) },
        quick: args.quick,
        command: args.typed.clone(),
        twtrace: &twtrace,
        backend: &args.backend,
        frame: &frame,
        synthetic: &synthetic,
        only: args.only.clone(),
        soak_s: args.soak,
    };
    let (results, passed) = suite::run(&task)?;
    let path = args.output.join("results.json");
    std::fs::write(&path, serde_json::to_vec(&results)?).with_context(|| path.display().to_string())?;
    write(&results, &args.output)?;
    if !args.quick {
        page::headlines(&results).iter().for_each(|line| println!("{line}"));
    }
    Ok(passed)
}

fn render(files: &[PathBuf], output: &Path) -> Result<()> {
    let read = |path: &PathBuf| -> Result<Results> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    };
    let mut all = files.iter().map(read);
    let mut results = all.next().context("no results")??;
    for other in all {
        results.complete(other?);
    }
    write(&results, output)
}

/// The page, and its plots beside it.
fn write(results: &Results, output: &Path) -> Result<()> {
    let plots = output.join("overhead");
    // What another run left there does not belong to this page.
    if plots.exists() {
        std::fs::remove_dir_all(&plots).with_context(|| plots.display().to_string())?;
    }
    std::fs::create_dir_all(&plots).with_context(|| plots.display().to_string())?;
    std::fs::write(output.join("overhead.md"), page::render(results))?;
    for growth in &results.growth {
        std::fs::write(plots.join(format!("{}.svg", growth.name)), plot::growth(growth)?)?;
    }
    if let Some(soak) = &results.soak {
        std::fs::write(plots.join("soak.svg"), plot::soak(soak)?)?;
    }
    Ok(())
}
