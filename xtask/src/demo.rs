//! `cargo xtask demo`: what twtrace is for, shown on this machine.
//!
//! Owns: building it, which takes stable Rust and nothing else, and getting root. Must not know: what the demo shows.

use crate::{project, sh};
use anyhow::{Result, bail};
use std::process::Command;
use twtrace_kit::command::shown;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `twtrace demo`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the command. It has the terminal to itself, and Ctrl-C goes to it.
pub(crate) fn main(args: &Args) -> Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "-p", "twtrace"]);
    sh::run(build.current_dir(project::root()))?;
    let program = project::target_dir().join("release/twtrace");
    let mut demo = sh::as_root(&program.to_string_lossy())?;
    demo.arg("demo").args(&args.rest);
    eprintln!("$ {}", shown(&demo));
    let status = sh::status(&mut demo)?;
    if !status.success() {
        bail!("the demo failed: {status}");
    }
    Ok(())
}
