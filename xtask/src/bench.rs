//! `cargo xtask bench`: what tracing costs, measured here, and the page that says it.
//!
//! Owns: building what measures and what is measured, getting root, and putting the page where it belongs.
//! Must not know: what is measured, and how (`twtrace-bench` does).

mod instructions;

use crate::arch::Arch;
use crate::scenarios::{Counted, Run};
use crate::{project, sh, vm};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is run
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only these: nginx, keepalive, client-first, server-first, programs, rate, live-sockets, processes, idle, screen, soak
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Also a soak of this length, such as 10m
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    soak: Option<u64>,
    /// How twtrace attaches; may be repeated with --instructions, where all are the default
    #[arg(long = "backend", value_name = "BACKEND")]
    backends: Vec<String>,
    /// Measure `twtrace serve` against its goals, and print what came out
    #[arg(long, conflicts_with_all = ["only", "soak", "quick", "instructions", "render"])]
    serve: bool,
    /// Count the instructions that tracing adds to a connection, in emulated guests, and hold them against the budgets
    #[arg(long, conflicts_with_all = ["only", "soak", "quick"])]
    instructions: bool,
    /// A kernel to count on, as `cargo xtask vm` has them; may be repeated [default: all]
    #[arg(long = "kernel", value_name = "SERIES|VERSION", requires = "instructions")]
    kernels: Vec<String>,
    /// What to count: floor, held, programs, record, events, live; may be repeated [default: all]
    #[arg(long = "mode", value_name = "MODE", requires = "instructions")]
    modes: Vec<String>,
    /// Connections of each round of a load that is counted
    #[arg(long, value_name = "N", requires = "instructions")]
    connections: Option<u32>,
    /// Write what was counted into docs/overhead.md
    #[arg(long, requires = "instructions")]
    write_docs: bool,
    /// Make budgets of what was counted, where it is lower or there is none
    #[arg(long, requires = "instructions")]
    lower_budgets: bool,
    /// One short iteration of everything: shows that the benchmarks work
    #[arg(long)]
    quick: bool,
    /// Take twtrace and the benchmarks as they were built last
    #[arg(long)]
    no_build: bool,
    /// Write the page anew from what was measured last, and measure nothing
    #[arg(long, conflicts_with_all = ["only", "soak", "quick"])]
    render: bool,
}

/// `90s`, `10m`, `1h`
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no time such as 90s, 10m or 1h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

/// Runs the command. A whole run writes docs/overhead.md; of any other the page is where its last line says.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.instructions {
        let object = std::env::var_os("TWTRACE_BPF_OBJECT").map(PathBuf::from);
        return instructions::main(&wish(args), object.as_deref());
    }
    ensure!(args.backends.len() < 2, "one --backend at a time, but with --instructions");
    if args.serve {
        return serve(args);
    }
    let output = output();
    let is_whole = !args.quick && args.only.is_empty();
    if args.render {
        build(args.no_build)?;
        let results = output.join("results.json");
        sh::run(
            Command::new(release().join("twtrace-bench"))
                .arg("render")
                .arg(&results)
                .arg("--output")
                .arg(&output),
        )?;
        return publish(&output);
    }
    build(args.no_build)?;
    let mut command = run_as_root(&release(), None)?;
    command.args(["--rounds", &args.rounds.to_string(), "--backend", backend(args)]);
    command.arg("--typed").arg(typed(args));
    command.args(args.only.iter().flat_map(|name| ["--only", name]));
    command.args(args.soak.iter().flat_map(|soak| ["--soak".to_owned(), soak.to_string()]));
    if args.quick {
        command.arg("--quick");
    }
    sh::run(&mut command)?;
    if is_whole {
        return publish(&output);
    }
    println!("bench: not a whole run, so docs/ is as it was: {}", output.join("overhead.md").display());
    Ok(())
}

/// Prints how `twtrace serve` does.
fn serve(args: &Args) -> Result<()> {
    build(args.no_build)?;
    let mut command = sh::as_root("env")?;
    command.arg(release().join("twtrace-bench")).arg("serve");
    command.arg("--twtrace").arg(release().join("twtrace")).args(["--backend", backend(args)]);
    sh::run(&mut command)
}

fn wish(args: &Args) -> instructions::Wish {
    instructions::Wish {
        kernels: args.kernels.clone(),
        backends: args.backends.clone(),
        modes: args.modes.clone(),
        connections: args.connections,
        write_docs: args.write_docs || args.render,
        render: args.render,
        lower_budgets: args.lower_budgets,
        no_build: args.no_build,
    }
}

fn backend(args: &Args) -> &str {
    args.backends.first().map_or("auto", String::as_str)
}

/// What tracing adds to a connection on one kernel, held against its budgets: each is a test case.
pub(crate) fn budgets(object: Option<&Path>) -> Result<Counted> {
    instructions::check(object)
}

/// One short iteration of every benchmark, as test cases; none where this machine cannot.
pub(crate) fn quick(object: Option<&Path>) -> Result<Counted> {
    let programs = vm::build_programs(Arch::Amd64)?;
    let mut command = run_as_root(&programs, object)?;
    command.args(["--quick", "--typed", "cargo xtask bench --quick"]);
    let done = sh::tee(&mut command)?;
    let run = Run::judge(&done.text, done.status.code());
    if let Run::Cannot(reason) = &run {
        println!("the benchmarks cannot run on this machine: {reason}");
    }
    Ok(Counted { tally: run.tally(), failures: run.failures() })
}

/// What the benchmarks are made of, for `cargo build`.
const WANTED: [&str; 9] =
    ["-p", "twtrace", "-p", "twtrace-bench", "--bins", "--example", "frame", "--example", "synthetic"];

fn build(no_build: bool) -> Result<()> {
    if no_build {
        return Ok(());
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked"]).args(WANTED);
    sh::run(build.current_dir(project::root()))
}

fn release() -> PathBuf {
    project::target_dir().join("release")
}

/// Pages of runs that are not published, and what every run measured.
fn output() -> PathBuf {
    project::target_dir().join("overhead")
}

/// `programs` is where they were built.
fn run_as_root(programs: &Path, object: Option<&Path>) -> Result<Command> {
    // Through `env`, as sudo passes no variables on.
    let mut command = sh::as_root("env")?;
    command.args(object.map(|object| format!("TWTRACE_BPF_OBJECT={}", object.display())));
    command.arg(programs.join("twtrace-bench")).arg("run").arg("--twtrace").arg(programs.join("twtrace"));
    for example in ["frame", "synthetic"] {
        command.arg(format!("--{example}")).arg(programs.join("examples").join(example));
    }
    command.arg("--output").arg(output());
    Ok(command)
}

/// The command line as a reader of the page would repeat it.
fn typed(args: &Args) -> String {
    let mut line = "cargo xtask bench".to_owned();
    if args.rounds != 7 {
        line += &format!(" --rounds {}", args.rounds);
    }
    for name in &args.only {
        line += &format!(" --only {name}");
    }
    if let Some(soak) = args.soak {
        line += &format!(" --soak {soak}s");
    }
    if backend(args) != "auto" {
        line += &format!(" --backend {}", backend(args));
    }
    if args.quick {
        line += " --quick";
    }
    line
}

/// Copies the page and its plots to docs/, as the user that we are.
fn publish(output: &Path) -> Result<()> {
    let docs = project::root().join("docs");
    let plots = docs.join("overhead");
    std::fs::create_dir_all(&plots)?;
    let copy = |from: &Path, to: &Path| {
        let text = std::fs::read(from).with_context(|| from.display().to_string())?;
        std::fs::write(to, text).with_context(|| to.display().to_string())
    };
    let (new, old) = (output.join("overhead.md"), docs.join("overhead.md"));
    let text = std::fs::read_to_string(&new).with_context(|| new.display().to_string())?;
    let page = instructions::carry_over(&std::fs::read_to_string(&old).unwrap_or_default(), &text);
    std::fs::write(&old, page).with_context(|| old.display().to_string())?;
    let mut copied = 0;
    for plot in std::fs::read_dir(output.join("overhead"))? {
        let plot = plot?;
        copy(&plot.path(), &plots.join(plot.file_name()))?;
        copied += 1;
    }
    ensure!(copied > 0, "the run made no plots");
    println!("bench: docs/overhead.md and {copied} plots are written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("90s"), Ok(90));
        for wrong in ["", "10", "m", "0s", "-1s", "10d", "10µ"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_typed_can_be_typed_again() {
        let args = Args {
            rounds: 7,
            only: vec!["nginx".to_owned()],
            soak: Some(600),
            backends: Vec::new(),
            serve: false,
            instructions: false,
            kernels: Vec::new(),
            modes: Vec::new(),
            connections: None,
            write_docs: false,
            lower_budgets: false,
            quick: false,
            no_build: true,
            render: false,
        };
        assert_eq!(typed(&args), "cargo xtask bench --only nginx --soak 600s");
        assert_eq!(
            typed(&Args { rounds: 9, only: Vec::new(), soak: None, ..args }),
            "cargo xtask bench --rounds 9"
        );
    }
}
