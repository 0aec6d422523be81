//! `cargo xtask fuzz`: searches for bytes that harm the reader of recordings, guided by the code that they reach.
//!
//! Owns: building the fuzz target with stable Rust, its corpus, a search of some seconds. Must not know: what is read.
//!
//! What `cargo fuzz` does, but for the address sanitizer, which stable Rust does not have: the reader is safe Rust, so a
//! panic, an endless loop or memory out of proportion is what there is to find.

use crate::scenarios::{Counted, Tally};
use crate::{project, sh};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// Where the build and what was found go, below the target directory.
const DIR: &str = "fuzz";

/// Inputs that every search starts from, kept with the sources.
const KEPT: &str = "twtrace/tests/data/recording-corpus";

/// What makes the compiler count the edges of the code for libFuzzer (the flags of `cargo fuzz`).
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to search
    #[arg(long, value_name = "S", default_value_t = 600)]
    seconds: u32,
}

/// Runs the command.
pub(crate) fn main(args: &Args) -> Result<()> {
    search(args.seconds).map(drop)
}

/// Builds and searches; an error names the file with the bytes that did harm.
pub(crate) fn search(seconds: u32) -> Result<Counted> {
    let root = &project::root();
    let dir = project::target_dir().join(DIR);
    let (target, found) = (host()?, dir.join("found"));
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &target]);
    build.arg("--target-dir").arg(&dir).env("RUSTFLAGS", COVERAGE).current_dir(root);
    sh::run(&mut build)?;
    std::fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut run = Command::new(dir.join(&target).join("debug/recording"));
    run.arg(&found).arg(Path::new(KEPT)).current_dir(root);
    run.arg(format!("-max_total_time={seconds}"));
    run.arg(format!("-artifact_prefix={}/", dir.display()));
    run.args(["-max_len=65536", "-rss_limit_mb=1024", "-timeout=10", "-print_final_stats=1", "-verbosity=0"]);
    sh::run(&mut run)?;
    println!("test fuzz::recording ... ok");
    Ok(Counted { tally: Tally { passed: 1, failed: 0, skipped: 0 }, failures: Vec::new() })
}

/// The host's target triple: with one given, build scripts are left alone by the flags.
fn host() -> Result<String> {
    let text = sh::read(Command::new("rustc").arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("`rustc -vV` names no host")?.to_owned())
}
