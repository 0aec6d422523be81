//! `cargo xtask test`: everything that must hold before a change goes in.
//!
//! Owns: the order of the steps and the sum of their results. Must not know: how a step does its work.
//!
//! A failed step does not keep the later ones from running, so that one run shows everything that is wrong.

use crate::arch::Arch;
use crate::matrix::{Cell, Machine, Matrix};
use crate::scenarios::{Counted, Run, Tally};
use crate::{bench, dist, ebpf, fuzz, install, project, sh, stop, tidy, vm};
use anyhow::{Context, Result, bail};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use twtrace_kit::child::Guarded;
use twtrace_kit::command::{shown, tail};

/// Scenarios that run only where they are named: they need a real machine's speed.
const HEAVY: [&str; 6] =
    ["load", "starvation", "keep_alive", "expires_after_a_minute", "doctor_healthy_load", "many_namespaces"];

/// How long the fuzzer searches here; by itself, `cargo xtask fuzz` searches longer. To build it takes minutes, so only where all is asked
/// for: what harmed the reader before, and changes of it, are unit tests.
const FUZZED_S: u32 = 20;

/// There where tracefs is mounted.
const TRACEFS: &str = "/sys/kernel/tracing/events";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the guests
    #[arg(long)]
    no_vm: bool,
    /// Only what needs no privilege and installs nothing: tidy, formatting, clippy, the object, unit tests
    #[arg(long)]
    quick: bool,
    /// Fuzz, and in guests play every scenario with every kernel and backend; else those that start a twtrace of their own are dealt out to
    /// them, each to two kernels and a backend of each, or to one kernel where the backend does not matter; likewise with each backend by
    /// its name on this machine
    #[arg(long, conflicts_with_all = ["no_vm", "quick"])]
    full: bool,
    /// Write the table of kernels and backends to docs/matrix.md
    #[arg(long, conflicts_with_all = ["no_vm", "quick"])]
    write_docs: bool,
}

/// Runs the command; its last line is the sum of everything.
pub(crate) fn main(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    // It waits for the network most of the time, and what comes first needs nothing of it.
    let installing =
        if args.quick { None } else { steps.run("components of the toolchain", Beside::installing) };
    steps.run("tidy", || tidy::main(&tidy::Args {}));
    steps.run("formatting", || cargo(&["fmt", "--all", "--check"]));
    let clippy = ["clippy", "--quiet", "--locked", "--all-targets", "--", "-D", "warnings"];
    steps.run("clippy", || cargo(&clippy));
    if let Some(installing) = installing {
        steps.run("install, begun before tidy", || installing.finish());
    }
    let object = steps.run("BPF object", ebpf::check).flatten();
    let packaging =
        if args.quick { None } else { steps.run("the packages' program, begun", Beside::packaging) };
    steps.count("unit tests", || unit_tests(!args.quick));
    let mut matrix = Matrix::default();
    let mut packaged = None;
    if !args.quick {
        if args.full {
            steps.count("fuzzing, a short search", || fuzz::search(FUZZED_S));
        }
        let programs = steps.run("programs of the tests", || vm::build_programs(Arch::Amd64));
        packaged = packaging.and_then(|packaging| {
            steps.run("the packages' program, begun before unit tests", || {
                packaging.finish().map(|()| dist::built_program())
            })
        });
        if let Some(programs) = programs {
            let tested = Tested { programs, packaged: packaged.clone(), object: object.clone() };
            steps.run("scenarios on this machine", || host(&tested, args.full, &mut matrix));
        }
        steps.count("benchmarks, one short iteration", || bench::quick(object.as_deref()));
    }
    if !args.quick && !args.no_vm {
        steps.count("instructions, held against their budgets", || bench::budgets(object.as_deref()));
        let everything = vm::Args::everything(!args.full);
        let guests = || vm::run(&everything, object.as_deref(), packaged.as_deref());
        steps.run("scenarios in guests", guests).into_iter().for_each(|guests| matrix.append(guests));
    }
    // What a part of the steps came to is no result.
    stop::unless_stopped(|| Ok(()))?;
    steps.tally += matrix.tally();
    let table = matrix.table();
    if args.write_docs {
        steps.run("docs/matrix.md", || write_docs(&table, args.full));
    }
    println!("\n{table}");
    for failure in &steps.failures {
        println!("failed: {failure}");
    }
    println!("{}", steps.tally);
    if steps.tally.failed > 0 {
        bail!("{} failed", steps.tally.failed);
    }
    Ok(())
}

/// What has been done so far.
#[derive(Default)]
struct Steps {
    /// Unit tests and scenarios; a step that failed as such counts as one failure.
    tally: Tally,
    /// What failed outside of the matrix, which has a list of its own.
    failures: Vec<String>,
}

impl Steps {
    /// As [`Self::run`], for a step that counts what it tried: each of its failures is named at the end, where the reader of a long log
    /// looks first.
    fn count(&mut self, name: &str, step: impl FnOnce() -> Result<Counted>) {
        let Some(counted) = self.run(name, step) else { return };
        self.tally += counted.tally;
        self.failures.extend(counted.failures.iter().map(|failure| format!("{name}: {failure}")));
    }

    /// Nothing of it begins once we are stopped.
    fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        stop::unless_stopped(|| Ok(())).ok()?;
        println!("\n== {name} ==");
        let started = Instant::now();
        let done = step();
        println!("== {name}: {:.0} s ==", started.elapsed().as_secs_f64());
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                println!("{name} FAILED: {error:#}");
                self.failures.push(format!("{name}: {error:#}"));
                self.tally.failed += 1;
                None
            }
        }
    }
}

/// A command of `cargo xtask`, beside other steps; what it prints comes at its end.
struct Beside {
    child: Guarded,
    printed: std::fs::File,
    args: &'static [&'static str],
}

impl Beside {
    /// The toolchain's components are there when this returns.
    fn installing() -> Result<Self> {
        install::components()?;
        Self::start(&["install"])
    }

    /// What users install is compiled as a whole, which has broken what no other build did. Most of that is one core's work.
    fn packaging() -> Result<Self> {
        Self::start(&["dist", "--program"])
    }

    fn start(args: &'static [&'static str]) -> Result<Self> {
        let printed = tempfile::tempfile().context("a file for what is printed")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed.try_clone()?);
        Ok(Self { child: sh::guarded(&mut command)?, printed, args })
    }

    fn finish(mut self) -> Result<()> {
        let status = self.child.wait()?;
        let mut text = Vec::new();
        self.printed.rewind()?;
        self.printed.read_to_end(&mut text)?;
        std::io::stdout().write_all(&text)?;
        if !status.success() {
            let command = self.args.join(" ");
            bail!("`cargo xtask {command}` failed: {status}\n{}", tail(&String::from_utf8_lossy(&text)));
        }
        Ok(())
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    sh::run(Command::new("cargo").args(args).current_dir(project::root()))
}

/// Unit tests of the default members: the kernel side builds for BPF only. Without a browser the page's test is skipped, unless
/// `cargo xtask install` has installed one.
fn unit_tests(is_installed: bool) -> Result<Counted> {
    let mut command = Command::new("cargo");
    command.args(["test", "--locked", "--no-fail-fast"]).current_dir(project::root());
    if is_installed {
        command.env("TWTRACE_NEEDS_BROWSER", "1");
    }
    if let Some(python) = install::python() {
        command.env("TWTRACE_PYTHON", python);
    }
    let done = sh::tee(&mut command)?;
    let tally = test_results(&done.text);
    if !done.status.success() && tally.failed == 0 {
        bail!("`{}` failed: {}", shown(&command), done.status);
    }
    if tally.passed == 0 {
        bail!("`{}` ran no test", shown(&command));
    }
    Ok(Counted { tally, failures: failed_tests(&done.text) })
}

/// The names of lines like `test a::b ... FAILED`.
fn failed_tests(text: &str) -> Vec<String> {
    let name = |line: &str| line.trim().strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned);
    text.lines().filter_map(name).collect()
}

/// Adds up lines like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
fn test_results(text: &str) -> Tally {
    let mut sum = Tally::default();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
        let count = |word: &str| {
            let field = line.split(['.', ';']).find_map(|field| field.trim().strip_suffix(word));
            field.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        sum += Tally { passed: count("passed"), failed: count("failed"), skipped: count("ignored") };
    }
    sum
}

/// What plays scenarios, and what they try.
struct Tested {
    /// Where the scenarios are, and a twtrace beside them.
    programs: PathBuf,
    /// The packages' program, where it could be built.
    packaged: Option<PathBuf>,
    /// A BPF object to use instead of the embedded one.
    object: Option<PathBuf>,
}

/// The scenarios on the kernel that we run on, with whatever backend it allows: as on a machine where nobody has mounted tracefs, and
/// once more with each backend by its name, with tracefs mounted, and with the packages' program. Scenarios for which one backend is enough
/// run the first time only, and of those that start a trace of their own a part does the second time, unless all of it is asked for.
fn host(tested: &Tested, is_full: bool, matrix: &mut Matrix) -> Result<()> {
    let kernel = sh::read(Command::new("uname").arg("-r"))?;
    let kernel = kernel.trim();
    let machine = |tracefs| Machine::new(&format!("{kernel} (this machine)"), "", tracefs);
    if !twtrace_kit::kernel::has_first_pids()? {
        let reason = "in a PID namespace (a container): the kernel tells other pids than scenarios see";
        println!("scenarios cannot run on this machine: {reason}");
        matrix.add(&machine(Path::new(TRACEFS).exists()), "all", Cell::Cannot(reason.to_owned()));
        return Ok(());
    }
    let shuffled = ["--shuffle", "--label", kernel];
    matrix.add(&machine(false), "auto", host_run(tested, &shuffled, ("auto", false))?);
    let packaged = tested.packaged.as_deref().map(Path::to_string_lossy);
    for backend in vm::BACKENDS {
        // What starts a trace of its own was played above: some of it is enough here.
        let dealt: &[&str] = if is_full { &[] } else { &["--deal", "0"] };
        let with = packaged.as_deref().map(|program| ["--twtrace", program]);
        let args = [&shuffled[..], dealt, with.as_ref().map_or(&[], |with| &with[..])].concat();
        matrix.add(&machine(true), backend, host_run(tested, &args, (backend, true))?);
    }
    let heavy = [&["--label", kernel], &HEAVY[..]].concat();
    let cell = host_run(tested, &heavy, ("auto", false))?;
    matrix.add(&machine(false), &format!("auto: {}", HEAVY.join(" ")), cell);
    Ok(())
}

/// Runs scenarios with a backend, and with tracefs mounted or not, which nobody else on this machine sees.
fn host_run(tested: &Tested, args: &[&str], (backend, tracefs): (&str, bool)) -> Result<Cell> {
    // Through `env`, as sudo passes no variables on.
    let mut command = sh::as_root("env")?;
    if let Some(object) = &tested.object {
        command.arg(format!("TWTRACE_BPF_OBJECT={}", object.display()));
    }
    command
        .arg(tested.programs.join("twtrace-scenarios"))
        .args(["run", "--backend", backend, "--tracefs", if tracefs { "mounted" } else { "unmounted" }])
        .args(args);
    let done = sh::tee(&mut command)?;
    Ok(match Run::judge(&done.text, Some(exit_code(done.status))) {
        Run::Cannot(reason) => {
            println!("{backend} cannot run on this machine: {reason}");
            Cell::Cannot(reason)
        }
        run => Cell::Ran(run),
    })
}

/// As a shell shows it: 128 and the signal where one ended the program.
fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn write_docs(table: &str, is_full: bool) -> Result<()> {
    let path: PathBuf = project::root().join("docs/matrix.md");
    let (command, scope) = if is_full {
        ("cargo xtask test --full --write-docs", "Every scenario was played with every kernel and backend")
    } else {
        (
            "cargo xtask test --write-docs",
            "In guests, scenarios that share a trace were played with every kernel and backend; of those that start a trace of their own \
             each was dealt to two kernels and a backend of each, or to one kernel where the backend does not matter (`--full` plays all of them)",
        )
    };
    let text = format!(
        "# Kernels and backends\n\nWritten by `{command}`. {scope}. The column \"state\" says what was done to a machine, \"tracefs\" \
         whether it was mounted. What was played on arm64 is in [arm64.md](arm64.md).\n\n{table}"
    );
    std::fs::create_dir_all(project::root().join("docs"))?;
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_programs_add_up() {
        let text = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 11 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.50s\n";
        assert_eq!(test_results(text), Tally { passed: 14, failed: 2, skipped: 1 });
    }

    #[test]
    fn failures_of_a_step_that_counts_are_named_and_counted_once() {
        let mut steps = Steps::default();
        let text = "test tui::a ... ok\ntest tui::b - should panic ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        steps.count("unit tests", || Ok(Counted { tally: test_results(text), failures: failed_tests(text) }));
        assert_eq!(steps.failures, ["unit tests: tui::b - should panic"]);
        assert_eq!(steps.tally, Tally { passed: 1, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_failed_step_is_counted_and_the_next_one_runs() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("bad", || -> Result<()> { bail!("broken") }), None);
        assert_eq!(steps.run("good", || Ok(7)), Some(7));
        assert_eq!(steps.failures, ["bad: broken"]);
        assert_eq!(steps.tally.failed, 1);
    }
}
