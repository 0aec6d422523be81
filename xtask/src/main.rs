//! `cargo xtask`: everything a developer of twtrace repeats, one module a command.
//!
//! Owns: the command line. Must not know: how any of the commands does its work.

mod arch;
mod bench;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod install;
mod man;
mod matrix;
mod project;
mod scenarios;
mod screen;
mod sh;
mod stop;
mod test;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything a developer of twtrace repeats")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the BPF object that the userspace crate embeds
    Ebpf(ebpf::Args),
    /// Install what the tests need (Debian)
    Install(install::Args),
    /// Check, build and test everything, here and in guests
    Test(test::Args),
    /// Build twtrace and show what it does
    Demo(demo::Args),
    /// Take a picture of the live view under a real load
    Screen(screen::Args),
    /// Measure what tracing costs here, and write the page that says it
    Bench(bench::Args),
    /// Search for bytes that harm the reader of recordings
    Fuzz(fuzz::Args),
    /// Make what users install: packages, an archive, an image
    Dist(dist::Args),
    /// Write man pages and completions
    Man(man::Args),
    /// Check habits that no linter knows
    Tidy(tidy::Args),
    /// Run the scenarios on other kernels, in guests
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let done = stop::listen().and_then(|()| run(command));
    if let Err(error) = &done {
        eprintln!("xtask: {error:#}");
    }
    match (stop::finished(), done) {
        (Some(signal), _) => ExitCode::from(stop::status(signal)),
        (None, Ok(())) => ExitCode::SUCCESS,
        (None, Err(_)) => ExitCode::FAILURE,
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ebpf(args) => ebpf::main(&args),
        Command::Install(args) => install::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Screen(args) => screen::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Fuzz(args) => fuzz::main(&args),
        Command::Dist(args) => dist::main(&args),
        Command::Man(args) => man::main(&args),
        Command::Tidy(args) => tidy::main(&args),
        Command::Vm(args) => vm::main(&args),
    }
}
