//! Owns: the command line, and what each outcome is as an exit status.
//! Must not know: how anything is traced or shown.

mod check;
mod config;
mod demo;
mod diff;
mod doctor;
mod drain;
mod events;
mod examples;
mod export;
mod filters;
mod list;
mod live;
mod pictures;
mod record;
mod recordings;
mod replay;
mod report;
mod serve;
mod values;
mod version;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::recording::OpenError;
use crate::source::session;

const EXIT_CODES: &str = "\
Exit status:
  0   done
  1   the work failed
  2   wrong usage
  3   doctor --exit-code has a critical finding
  77  not possible on this machine: no privilege, no BTF or no backend (stderr says why, and the remedy)";

const ABOUT: &str = concat!(
    env!("CARGO_PKG_DESCRIPTION"),
    "\n\nWithout a command, it shows the live view: which processes make them, refreshed every interval"
);

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "twtrace", about = ABOUT, after_help = EXIT_CODES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// Print the version; with --verbose also the commit, the BPF object and the target
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    live: live::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one line for each event as it happens
    Events(events::Args),
    /// List the TIME_WAIT sockets that exist now, with the time they have left, or count sockets per TCP state
    List(list::Args),
    /// Record events to a file, while a command runs, for a time, or until Ctrl-C
    Record(record::Args),
    /// Show what a recording holds: a summary, tables, a timeline
    Report(report::Args),
    /// Compare two recordings: what changed, in total and per process
    Diff(diff::Args),
    /// Show a recording in the live view
    Replay(replay::Args),
    /// Wait until TIME_WAIT sockets are gone, for example between two load tests
    Drain(drain::Args),
    /// Convert a recording to Parquet, CSV or JSON lines for other tools
    Export(export::Args),
    /// Check what twtrace can do on this machine: kernel, BTF, each backend; if not, why, and the remedy
    Check(check::Args),
    /// Find out why ports run out, which process does it, and which remedy helps, by how much: looks for 10 s, less where the case is clear
    Doctor(Box<doctor::Args>),
    /// Serve a live trace as metrics for Prometheus, and record beside it
    Serve(Box<serve::Args>),
    /// Show how twtrace works on TIME_WAIT sockets that it makes in a network namespace of its own
    Demo(demo::Args),
    /// A process of the demo
    #[command(subcommand, hide = true)]
    DemoActor(demo::Actor),
}

/// How a command came out, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 0
    Done,
    /// 1
    Failed,
    /// 3
    Critical,
    /// 77
    Cannot,
    /// Somebody else's.
    Status(u8),
}

impl Command {
    /// Whether it stays on a machine that works, where it should take little.
    fn traces(&self) -> bool {
        matches!(self, Self::Events(_) | Self::Record(_) | Self::Serve(_) | Self::Doctor(_))
    }
}

/// Every command and flag: what `--help`, man pages and completions are made of.
pub fn command() -> clap::Command {
    examples::add(Cli::command())
}

/// Parses the command line, runs the command, and says how it came out.
pub fn main() -> ExitCode {
    // clap prints its own errors, naming the value, and exits with 2.
    let parsed = Cli::from_arg_matches(&command().get_matches());
    let cli = parsed.unwrap_or_else(|error| error.format(&mut command()).exit());
    if cli.version {
        // Nobody who went away misses it.
        let _ = std::io::stdout().lock().write_all(version::text(cli.live.is_verbose()).as_bytes());
        return ExitCode::SUCCESS;
    }
    crate::host::descriptors::raise();
    if cli.command.as_ref().is_none_or(Command::traces) {
        crate::host::usage::keep_little();
    }
    let done = match cli.command {
        None => live::run(&cli.live),
        Some(Command::Events(args)) => events::run(args),
        Some(Command::List(args)) => list::run(&args),
        Some(Command::Record(args)) => record::run(args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Drain(args)) => drain::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Serve(args)) => serve::run(*args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::DemoActor(actor)) => demo::act(&actor),
    };
    let status = match done {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::Critical) => ExitCode::from(3),
        Ok(Outcome::Cannot) => ExitCode::from(77),
        Ok(Outcome::Status(status)) => ExitCode::from(status),
        Err(error) => fail(&error),
    };
    crate::output::notes::finish();
    status
}

fn fail(error: &anyhow::Error) -> ExitCode {
    if is_unread(error) {
        return ExitCode::SUCCESS;
    }
    if let Some(usage) = error.downcast_ref::<values::Usage>() {
        crate::note!("error: {usage}\n\nFor more information, try '--help'.");
        return ExitCode::from(2);
    }
    // One file of a folder is asked for, and not what to do about a disk.
    if let Some(folder @ OpenError::Folder(_)) = error.downcast_ref::<OpenError>() {
        crate::note!("twtrace: {folder}");
        return ExitCode::from(2);
    }
    if let Some(session::Error::Cannot(cannot)) = error.downcast_ref::<session::Error>() {
        say_cannot(cannot);
        return ExitCode::from(77);
    }
    crate::note!("twtrace: {error:#}");
    if crate::host::sandbox::is_on() && is_refusal(error) {
        crate::note!(
            "twtrace: power that a trace should not need was given up before that; --no-sandbox keeps it"
        );
    }
    ExitCode::FAILURE
}

/// The kernel permitted something not.
fn is_refusal(error: &anyhow::Error) -> bool {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let of_trace = match error.downcast_ref::<session::Error>() {
        Some(session::Error::Output(error) | session::Error::Wait(error)) => Some(error),
        _ => None,
    };
    of_trace.is_some_and(refused) || error.chain().any(|cause| cause.downcast_ref().is_some_and(refused))
}

/// Whoever read our output went away.
fn is_unread(error: &anyhow::Error) -> bool {
    let io = match error.downcast_ref::<crate::source::replay::Error>() {
        Some(crate::source::replay::Error::Output(error)) => Some(error),
        _ => error.downcast_ref::<std::io::Error>(),
    };
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// One line of reason, one of remedy.
fn say_cannot(cannot: &crate::kernel::probe::Cannot) {
    crate::note!("twtrace: {cannot}");
    crate::note!("remedy: {}", cannot.remedy());
}

/// A runtime for one trace: everything happens on this thread.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context as _;
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}
