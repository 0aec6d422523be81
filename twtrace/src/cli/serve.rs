//! Owns: `twtrace serve`: its flags, the order in which its parts begin and end.
//! Must not know: what is answered, how it is traced.

mod otlp;
mod reach;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{FromArgMatches as _, ValueEnum};

use super::events::TraceArgs;
use super::filters::{FilterArgs, hide};
use super::record::possible;
use super::values::{Usage, duration, first_given, from_one, size};
use super::{Cli, Command, Outcome, config, runtime};
use crate::diagnose::gather::Rhythm;
use crate::host::files::Folder;
use crate::host::notify::Manager;
use crate::model::escape;
use crate::present::live::Upkeep;
use crate::present::record::output::{Destination, Rotation};
use crate::present::record::{Setup, user};
use crate::present::serve::{Board, Exporter, Recording, Server, Service, Shared};
use crate::source::session;

const ABOUT: &str = "\
/metrics: for Prometheus, as text or OpenMetrics, as the client asks for it, compressed where it takes that.
/findings: what the doctor says of the last ten seconds, of failures the last minute, as JSON.
/readyz: 200 once all hooks are attached and while the trace goes on. /healthz: 200 while the process goes on.

Owners, destinations and pools of ports are told apart as far as they are among the busiest (--top); all others together are in series whose role
or source is 'other', so sums are exact. A series goes five minutes after the last event of one that has
no process and no socket left, or of one that makes room for another twice as busy.

It listens on this machine only. Elsewhere it wants --token-file or --tls-client-ca, or --insecure to say that everybody may ask. A token that
travels wants --tls-cert and --tls-key.

With --record, DIR/twtrace.N.twt are recordings as `twtrace record --rotate-every` makes them; files of an earlier run count as kept. A disk
that is full stops the recording and nothing else: it is tried again, after longer and longer pauses.

A file for --config has the names of these flags as its keys: listen = \"127.0.0.1:9478\", verbose = true, comm = [\"nginx\", \"php-fpm\"].
What is typed counts more.";

/// The name of the files under --record; a number goes before the extension.
const RECORDING: &str = "twtrace.twt";
/// How old a file gets and how many are kept, where nobody says otherwise.
const EVERY: Duration = Duration::from_secs(3600);
const KEEP: u64 = 24;

/// `twtrace serve`
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
#[command(mut_args(hide(&["reason"])))]
pub(super) struct Args {
    #[command(flatten)]
    reach: reach::Reach,
    #[command(flatten)]
    otlp: otlp::Otlp,
    /// Tell so many owners, destinations, pools and namespaces apart
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    top: u16,
    /// Record all events as well, to files in this folder
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Go on in another file once one has this many bytes, such as 64M
    #[arg(long, value_name = "BYTES", value_parser = size)]
    rotate_size: Option<u64>,
    /// Go on in another file once one is this old [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    rotate_every: Option<Duration>,
    /// Keep this many files, the one being written included [default: 24]
    #[arg(long, value_name = "N", value_parser = from_one::<u64>)]
    keep: Option<u64>,
    /// How notes on stderr are written
    #[arg(long, value_name = "FORMAT", default_value = "plain")]
    log_format: LogFormat,
    /// Options from a TOML file, whose keys are these flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Plain,
    /// One JSON object a line: time and message
    Json,
}

impl Args {
    /// With what the file of `--config` says.
    fn with_config(self) -> anyhow::Result<Self> {
        let Some(path) = &self.config else { return Ok(self) };
        let typed: Vec<_> = std::env::args_os().collect();
        let words = config::with_file(&super::command(), "serve", path, &typed)?;
        // Each option was tried by itself; two that do not go together are refused as if they were typed.
        let cli = Cli::from_arg_matches(&super::command().get_matches_from(words));
        match cli.map_err(|error| Usage(error.to_string()))?.command {
            Some(Command::Serve(args)) => Ok(*args),
            _ => Ok(self),
        }
    }

    /// Whoever says how a recording is kept expects one.
    fn refuse_without_record(&self) -> Result<(), Usage> {
        let given = [
            (self.rotate_size.is_some(), "--rotate-size"),
            (self.rotate_every.is_some(), "--rotate-every"),
            (self.keep.is_some(), "--keep"),
        ];
        refuse_without(self.record.is_some(), &given, "--record DIR")
    }

    fn recording(&self, filters: Vec<String>, netns: Vec<u32>) -> anyhow::Result<Option<Recording>> {
        let Some(dir) = &self.record else { return Ok(None) };
        let shown = || format!("cannot record to {}", escape::path(dir));
        // Under sudo a folder that is new is the caller's, as the files in it are: else they could not come to them.
        let owner = user::caller();
        let ids = owner.as_ref().map(|owner| (owner.uid, owner.gid));
        Folder::private(dir, ids).with_context(shown)?;
        let (every, keep) = (self.rotate_every.unwrap_or(EVERY), self.keep.unwrap_or(KEEP));
        let (size, every, keep) = (self.rotate_size, Some(every), Some(keep));
        let rotation = possible(Rotation { size, every, keep, resumes: true })?;
        let destination = Destination { path: dir.join(RECORDING), force: false, rotation, owner };
        let rhythm = Some(Rhythm::SERVICE);
        let setup = Setup { filters, netns, command: None, cgroup: None, settle: Duration::ZERO, rhythm };
        Recording::new(destination, setup).map(Some).with_context(shown)
    }
}

/// Refuses the first option that was given, where the one is not there that it goes with.
fn refuse_without(is_there: bool, given: &[(bool, &'static str)], needed: &str) -> Result<(), Usage> {
    match first_given(given).filter(|_| !is_there) {
        Some(flag) => Err(Usage(format!("{flag} needs {needed}"))),
        None => Ok(()),
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let args = args.with_config()?;
    if args.log_format == LogFormat::Json {
        crate::output::notes::as_json();
    }
    args.refuse_without_record()?;
    let (tls, token, endpoint) = (args.reach.tls()?, args.reach.token()?, args.otlp.endpoint()?);
    let filter = args.filters.live()?;
    if !filter.reasons.is_empty() {
        return Err(Usage(
            "--reason is no filter of serve: its metrics have the reason as a label".to_owned(),
        )
        .into());
    }
    if let Err(cannot) = crate::kernel::probe::permitted() {
        return Err(session::Error::from(cannot).into());
    }
    let listener = args.reach.listener()?;
    let recording = args.recording(filter.words(), filter.netns.clone())?;
    let options = args.trace.options(filter);
    let (board, top) = (Arc::new(Board::default()), usize::from(args.top));
    let shared = Shared::new(Arc::clone(&board), token, top);
    let shared = Arc::new(if endpoint.is_some() { shared.exported() } else { shared });
    let server = Server::start(listener, tls, Arc::clone(&shared))?;
    crate::note!("twtrace: answering on {}://{}/metrics", args.reach.scheme(), server.address());
    let said = std::env::var("OTEL_RESOURCE_ATTRIBUTES").ok();
    let exporter =
        endpoint.map(|(endpoint, every)| Exporter::start(endpoint, every, shared, said.as_deref()));
    let exporter = exporter.transpose()?;
    let mut service =
        Service::new(board, top, Upkeep::start()?.sparing(), Manager::of_environment(), recording);
    service = service.needing(server.alive());
    if let Some(exporter) = &exporter {
        service = service.exported().needing(exporter.alive());
    }
    let traced = runtime()?.block_on(session::run(&options, &mut service));
    // Where one of them ended the trace by its death, it says here why.
    exporter.map(Exporter::stop).transpose()?;
    server.stop()?;
    let summary = traced?;
    service.finish(&summary).context("cannot end the recording")?;
    crate::note!("{summary}");
    Ok(Outcome::Done)
}
