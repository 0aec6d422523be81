//! `cargo xtask`: everything a developer of twtrace repeats, one module a command.
//!
//! Owns: the command line. Must not know: how any of the commands does its work.

mod ebpf;
mod matrix;
mod project;
mod scenarios;
mod sh;
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
    /// Run the scenarios on other kernels, in guests
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ebpf(args) => ebpf::main(&args),
        Command::Vm(args) => vm::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
