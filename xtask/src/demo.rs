//! `cargo xtask demo`: what twtrace is for, shown on this machine.
//!
//! Owns: building it and getting root. Must not know: what the demo shows.

use crate::{install, project, sh};
use anyhow::{Result, bail};
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not install anything first
    #[arg(long)]
    no_install: bool,
    /// Arguments for `twtrace demo`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the command. It has the terminal to itself, and Ctrl-C goes to it.
pub(crate) fn main(args: &Args) -> Result<()> {
    if !args.no_install {
        install::main(&install::Args {})?;
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "-p", "twtrace"]);
    sh::run(build.current_dir(project::root()))?;
    let program = project::target_dir().join("release/twtrace");
    let mut demo = sh::as_root(&program.to_string_lossy())?;
    demo.arg("demo").args(&args.rest);
    eprintln!("$ {}", sh::shown(&demo));
    let status = demo.status()?;
    if !status.success() {
        bail!("the demo failed: {status}");
    }
    Ok(())
}
