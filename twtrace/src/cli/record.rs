//! Owns: `twtrace record`: its flags, what its outcomes are as exit statuses, its last line.
//! Must not know: how a recording is made.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::events::TraceArgs;
use super::filters::FilterArgs;
use super::values::{Usage, duration, from_one, size};
use super::{Outcome, runtime};
use crate::diagnose::gather::Rhythm;
use crate::model::filter::CgroupFilter;
use crate::present::record::cgroup::{Cgroup, NoCgroup};
use crate::present::record::command::Command;
use crate::present::record::output::{Destination, Output, Rotation};
use crate::present::record::{Parting, Recorder, Setup, user};
use crate::recording::Exit;
use crate::source::session::{self, Summary};

const ABOUT: &str = "\
The file is an Arrow IPC stream, which pyarrow and other tools can read. Only its owner may read it (mode 0600); under sudo \
the owner is the calling user. Events are on disk within a second. A pipe or FIFO is written to as fast as it is read, and a file as fast as its disk takes it: \
up to 16 MiB wait, and events that there is no room for are counted as lost.

With a command: it starts once all hooks are attached, runs as the calling user, and the recording ends when it ends. \
Ctrl-C goes to the command as usual; a signal sent to twtrace alone is passed on to it. A second Ctrl-C, at least a second \
later, ends the recording and leaves the command running. When --duration is over, the command gets SIGTERM.

With --rotate-size or --rotate-every, `-o load.twt` writes load.0.twt, load.1.twt and so on. Each of them can be read alone. \
Where one of them is there already, nothing is recorded, or with --force all of them are removed first; a name that somebody else takes \
meanwhile is passed over.

Exit status: that of the command (128 + the signal number if a signal ended it; 0 if --duration did), 126 if it cannot be \
run, 127 if it is not found. 1 if the recording failed, as where its end is not read in time, whatever the command did. 2 or 77 if \
the command was not run, for wrong usage or because this machine cannot: stderr says why. Without a command: as for all commands.";

/// `twtrace record`
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct Args {
    /// File to write; - is stdout, and then the output of CMD goes to stderr
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace FILE if it exists; with --rotate-…, remove every file of that name and a number
    #[arg(long)]
    force: bool,
    /// Start a new file when the current one reaches this size, such as 64M
    #[arg(long, value_name = "BYTES", value_parser = size)]
    rotate_size: Option<u64>,
    /// Start a new file when the current one reaches this age, such as 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    rotate_every: Option<Duration>,
    /// Keep the last N of these files, the current one included [default: all]
    #[arg(long, value_name = "N", value_parser = from_one::<u64>)]
    keep: Option<u64>,
    /// Record only events whose owner is CMD or one of its children
    #[arg(long, requires = "command", conflicts_with = "cgroup")]
    only_command: bool,
    /// After CMD has ended, record for this long, for its last connections [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    settle: Option<Duration>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
    /// Command to run; the recording ends when it ends
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Of a command's last connections, where nobody says otherwise.
const SETTLE: Duration = Duration::from_millis(200);
/// The shortest time and the smallest size at which files change.
const LEAST_EVERY: Duration = Duration::from_secs(1);
const LEAST_SIZE: u64 = 64 << 10;

impl Args {
    fn rotation(&self) -> Result<Rotation, Usage> {
        let (size, every, keep) = (self.rotate_size, self.rotate_every, self.keep);
        let rotation = possible(Rotation { size, every, keep, resumes: false })?;
        if self.keep.is_some() && !rotation.is_on() {
            return Err(Usage("--keep needs --rotate-size or --rotate-every".to_owned()));
        }
        if rotation.is_on() && self.output.as_os_str() == "-" {
            return Err(Usage("stdout is one file: --rotate-size and --rotate-every need a FILE".to_owned()));
        }
        Ok(rotation)
    }
}

/// A rotation, if it is neither too fast nor of too small files.
pub(super) fn possible(rotation: Rotation) -> Result<Rotation, Usage> {
    if rotation.size.is_some_and(|size| size < LEAST_SIZE) {
        return Err(Usage("--rotate-size must be 64K or more".to_owned()));
    }
    if rotation.every.is_some_and(|every| every < LEAST_EVERY) {
        return Err(Usage("--rotate-every must be 1s or more".to_owned()));
    }
    Ok(rotation)
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    use std::io::IsTerminal as _;
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(Usage("a recording is no text: send it to a file or a pipe".to_owned()).into());
    }
    let rotation = args.rotation()?;
    if args.settle.is_some() && args.command.is_empty() {
        let why = "--settle needs a command: it is how long to record after CMD has ended";
        return Err(Usage(why.to_owned()).into());
    }
    // What a command is going to do is not there yet.
    let mut filter = if args.command.is_empty() {
        args.filters.live()?
    } else {
        args.filters.coming().inspect(|_| args.filters.say_patterns())?
    };
    let caller = user::caller();
    let command = match args.command.is_empty() {
        true => None,
        false => match Command::find(args.command, caller.clone(), to_stdout) {
            Ok(command) => Some(command),
            Err(refused) => return Ok(not_run(&refused)),
        },
    };
    if let Err(cannot) = crate::kernel::probe::permitted() {
        return Err(session::Error::from(cannot).into());
    }
    let filters = filter.words();
    let cgroup = match args.only_command.then(Cgroup::new).transpose() {
        Ok(cgroup) => cgroup,
        Err(none) => return Ok(no_cgroup(&none)),
    };
    if let Some(cgroup) = &cgroup {
        filter.cgroups = vec![CgroupFilter { path: cgroup.path().into(), leaf_id: Some(cgroup.id()) }];
    }
    let output = Output::open(Destination { path: args.output, force: args.force, rotation, owner: caller })?;
    let options = args.trace.options(filter);
    let (netns, rhythm) = (options.filter.netns.clone(), Some(Rhythm::RECORDING));
    let setup = Setup { filters, netns, command, cgroup, settle: args.settle.unwrap_or(SETTLE), rhythm };
    let mut recorder = Recorder::new(output, setup).context("cannot watch signals")?;
    let traced = runtime()?.block_on(session::run(&options, &mut recorder));
    conclude(recorder, traced)
}

fn not_run(refused: &crate::present::record::command::NotRun) -> Outcome {
    crate::note!("twtrace: {refused}");
    Outcome::Status(refused.status)
}

fn no_cgroup(none: &NoCgroup) -> Outcome {
    crate::note!("twtrace: {none}\nremedy: {}", none.remedy());
    Outcome::Cannot
}

/// Ends the recording and the command, and says how it all came out.
fn conclude(mut recorder: Recorder, traced: Result<Summary, session::Error>) -> anyhow::Result<Outcome> {
    if let Some(refused) = recorder.refused() {
        recorder.discard();
        return Ok(not_run(&refused));
    }
    let done = match traced {
        Ok(summary) => {
            recorder.finish(&summary).map(|parting| (summary, parting)).map_err(anyhow::Error::from)
        }
        Err(error) => Err(error.into()),
    };
    let (summary, parting) = match done {
        Ok(done) => done,
        Err(error) => return give_up(recorder, error),
    };
    let exit = match parting {
        Parting::NoCommand => None,
        Parting::Ended(exit) => Some(exit),
        Parting::Leaves { pid, signal } => {
            crate::note!("twtrace: the command, pid {pid}, still runs");
            Some(Exit::Signal(signal))
        }
        Parting::Outlasts => Some(recorder.wait_for_command()?),
    };
    if !summary.unread {
        crate::note!("{}", recorder.said(&summary));
    }
    let ended_by_us = recorder.ended_it() && exit == Some(Exit::Signal(libc::SIGTERM));
    Ok(match exit {
        Some(exit) if !ended_by_us => Outcome::Status(exit.code()),
        _ => Outcome::Done,
    })
}

/// The recording failed. The command is not to suffer from that: it gets to finish.
fn give_up(mut recorder: Recorder, error: anyhow::Error) -> anyhow::Result<Outcome> {
    recorder.leave_off();
    if let Some(pid) = recorder.left().filter(|_| recorder.command_runs()) {
        crate::note!("twtrace: {error:#}; the command, pid {pid}, still runs");
        return Ok(Outcome::Failed);
    }
    if recorder.command_runs() {
        crate::note!("twtrace: {error:#}; nothing more is recorded, the command goes on");
        recorder.wait_for_command()?;
        return Ok(Outcome::Failed);
    }
    Err(error)
}
