//! `cargo xtask screen`: a picture of the live view under a real load, for the README.
//!
//! Owns: building what it takes and getting root. Must not know: the load, what the screen shows.

use crate::{project, sh};
use anyhow::{Result, bail};
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Width of the terminal
    #[arg(long, default_value_t = 80)]
    columns: u16,
    /// Its height
    #[arg(long, default_value_t = 24)]
    lines: u16,
}

/// Runs the command; the picture goes to stdout.
pub(crate) fn main(args: &Args) -> Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "-p", "twtrace", "-p", "twtrace-scenarios"]);
    sh::run(build.current_dir(project::root()))?;
    let program = project::target_dir().join("release/twtrace-scenarios");
    let mut picture = sh::as_root(&program.to_string_lossy())?;
    picture.arg("picture").args(["--columns", &args.columns.to_string(), "--lines", &args.lines.to_string()]);
    let status = sh::status(&mut picture)?;
    if !status.success() {
        bail!("no picture: {status}");
    }
    Ok(())
}
