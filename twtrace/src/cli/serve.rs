//! Owns: `twtrace serve`: its flags and which of them go together: where it can be reached, by whom, how the way to it is kept private, and
//! where to export to; the order in which its parts begin and end.
//! Must not know: what is answered or exported, how it is traced.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{FromArgMatches as _, ValueEnum};

use super::events::TraceArgs;
use super::filters::{FilterArgs, hide};
use super::record::possible;
use super::values::{Usage, duration, first_given, from_one, listen, size};
use super::{Cli, Command, Outcome, config, runtime};
use crate::diagnose::gather::Rhythm;
use crate::host::files::Folder;
use crate::host::notify::Manager;
use crate::model::escape::{self, printable};
use crate::present::live::Upkeep;
use crate::present::record::output::{Destination, Rotation};
use crate::present::record::{Setup, user};
use crate::present::serve::{
    Board, Endpoint, Exporter, Headers, Recording, Server, Service, Shared, Tls, TlsFiles, Token, Transport,
    is_of_this_machine,
};
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
    reach: Reach,
    #[command(flatten)]
    otlp: Otlp,
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
    let stopped = exporter.map(Exporter::stop).transpose().and(server.stop());
    let ended = match &traced {
        Ok(summary) => service.finish(summary).context("cannot end the recording"),
        Err(_) => {
            service.leave_off();
            Ok(())
        }
    };
    // Where one of them ended the trace by its death, it says here why.
    stopped?;
    let summary = traced?;
    ended?;
    crate::note!("{summary}");
    Ok(Outcome::Done)
}

#[derive(Debug, clap::Args)]
struct Reach {
    /// Where to answer
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9478", value_parser = listen)]
    listen: SocketAddr,
    /// Answer those only who send the first line of this file as a bearer token, which is read again when it changes; /healthz and /readyz are answered to all
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer by HTTPS, with this certificate (PEM, with those between it and its root); it is read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM); it is read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Answer those only who have a certificate by one of these (PEM, read again when it changes); /healthz and /readyz are answered to all
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Listen beyond this machine though anybody there may ask
    #[arg(long)]
    insecure: bool,
}

impl Reach {
    /// TLS, where it is wanted; an error where half of what it takes is missing, or everybody could ask and nobody said that they may.
    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let certificate_and_key = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(usage("--tls-cert wants --tls-key as well")),
            (None, Some(_)) => return Err(usage("--tls-key wants --tls-cert as well")),
        };
        if certificate_and_key.is_none() && self.tls_client_ca.is_some() {
            return Err(usage("--tls-client-ca wants --tls-cert and --tls-key as well"));
        }
        let is_known = self.token_file.is_some() || self.tls_client_ca.is_some();
        if !is_known && !self.insecure && !is_of_this_machine(&self.listen) {
            return Err(usage(&format!(
                "--listen {} can be reached from other machines: give --token-file or --tls-client-ca, or --insecure if everybody may ask",
                self.listen
            )));
        }
        let Some((certificate, key)) = certificate_and_key else { return Ok(None) };
        let client_roots = self.tls_client_ca.clone();
        let tls = Tls::new(TlsFiles { certificate, key, client_roots }).map_err(Usage::of_file)?;
        Ok(Some(tls))
    }

    /// The token, where one is wanted.
    fn token(&self) -> Result<Option<Token>, Usage> {
        self.token_file.as_deref().map(Token::read).transpose().map_err(Usage::of_file)
    }

    /// Listens.
    fn listener(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind(self.listen).with_context(|| format!("cannot listen on {}", self.listen))
    }

    /// How addresses begin there.
    const fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }
}

fn usage(said: &str) -> anyhow::Error {
    Usage(said.to_owned()).into()
}

#[derive(Debug, clap::Args)]
struct Otlp {
    /// Export the metrics, and findings as log records, to this OpenTelemetry endpoint, such as http://collector:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// How --otlp is spoken to; where it is not said, HTTP on port 4318 and where the URL has a path, else gRPC
    #[arg(long, value_name = "TRANSPORT")]
    otlp_protocol: Option<Transport>,
    /// How often it is exported [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    otlp_every: Option<Duration>,
    /// Roots that certify an https:// endpoint (PEM), read again when it changes; without it, those of this machine
    #[arg(long, value_name = "FILE")]
    otlp_ca: Option<PathBuf>,
    /// Headers for the endpoint, such as its token: a line each, NAME: VALUE; it is read again when it changes
    #[arg(long, value_name = "FILE")]
    otlp_headers_file: Option<PathBuf>,
}

/// How often, where nobody says otherwise; and the most often.
const EXPORT_EVERY: Duration = Duration::from_secs(30);
const LEAST_EXPORT_EVERY: Duration = Duration::from_secs(1);

impl Otlp {
    /// Where to export to and how often; `None` where nothing is exported.
    fn endpoint(&self) -> anyhow::Result<Option<(Endpoint, Duration)>> {
        let given = [
            (self.otlp_protocol.is_some(), "--otlp-protocol"),
            (self.otlp_every.is_some(), "--otlp-every"),
            (self.otlp_ca.is_some(), "--otlp-ca"),
            (self.otlp_headers_file.is_some(), "--otlp-headers-file"),
        ];
        refuse_without(self.otlp.is_some(), &given, "--otlp URL")?;
        let Some(url) = &self.otlp else { return Ok(None) };
        let every = self.otlp_every.unwrap_or(EXPORT_EVERY);
        if every < LEAST_EXPORT_EVERY {
            return Err(Usage(format!("--otlp-every must be 1s or more, and is {every:?}")).into());
        }
        let headers = self.headers()?;
        let endpoint = Endpoint::new(url, self.otlp_protocol, self.otlp_ca.as_deref(), headers);
        let endpoint = endpoint
            .map_err(|error| Usage(format!("cannot export to --otlp {}: {error}", printable(url))))?;
        Ok(Some((endpoint, every)))
    }

    fn headers(&self) -> Result<Headers, Usage> {
        let read = self.otlp_headers_file.as_deref().map(Headers::read).transpose();
        read.map(Option::unwrap_or_default).map_err(Usage::of_file)
    }
}
