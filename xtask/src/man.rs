//! `cargo xtask man`: man pages and completions.
//!
//! Owns: where they go. Must not know: how they are made.

use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

use crate::{project, sh};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder to write to [default: target/man]
    dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn main(args: &Args) -> Result<()> {
    let dir = args.dir.clone().unwrap_or_else(|| project::target_dir().join("man"));
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project::root());
    write(cargo, &std::path::absolute(dir)?)
}

/// Writes `man1/twtrace*.1` and `completions/` below `dir`, of the twtrace in the tree where `cargo` runs.
///
/// # Errors
/// Where it cannot be built.
pub(crate) fn write(mut cargo: Command, dir: &std::path::Path) -> Result<()> {
    sh::run(
        cargo.args(["run", "--quiet", "--locked", "--package", "twtrace", "--example", "man", "--"]).arg(dir),
    )?;
    println!("man pages and completions are in {}", dir.display());
    Ok(())
}
