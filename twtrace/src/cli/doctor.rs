//! Owns: `twtrace doctor`: why ports run out here, who does it, and which remedy would help.
//! Must not know: what is found, and how.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::events::TraceArgs;
use super::filters::{FilterArgs, hide, said_of_nothing};
use super::values::{Usage, first_given, from_one};
use super::{Outcome, runtime};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Severity;
use crate::diagnose::{diagnose, explain, gather::Pace, gather::Watch, json, of_others, text};
use crate::kernel::probe;
use crate::model::filter::{Failures, Filter};
use crate::output::notes;
use crate::output::paint::Paint;
use crate::present::report;
use crate::present::signs::in_locale;
use crate::present::table::{Cell, Column, Table};
use crate::recording::Recording;
use crate::source::session;

/// How long to look at most where nobody says otherwise.
const DURATION: Duration = Duration::from_secs(10);

/// `twtrace doctor`
#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true)]
#[command(mut_args(hide(&["reason", "failures", "no_container_names", "runtime_socket"])))]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Recording to look at instead of this machine; - is stdin
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON object; ids of findings and remedies never change
    #[arg(long)]
    json: bool,
    /// Exit with status 3 if a finding is critical
    #[arg(long)]
    exit_code: bool,
    /// Number of ports that a NAT gateway in front of this machine has for one destination
    #[arg(long, value_name = "N", value_parser = from_one::<u32>)]
    nat_ports: Option<u32>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Explain a finding or remedy in detail; without an id, list all ids
    Explain {
        /// Id of a finding or remedy, such as ports_exhausted
        id: Option<String>,
    },
}

impl Args {
    /// Whoever gives an option expects it to matter.
    fn refuse_what_goes_with_nothing(&self) -> Result<(), Usage> {
        if self.what.is_some() {
            let given = first_given(&[
                (self.file.is_some(), "FILE"),
                (self.json, "--json"),
                (self.exit_code, "--exit-code"),
                (self.nat_ports.is_some(), "--nat-ports"),
            ]);
            let filtered = (self.filters != FilterArgs::default()).then_some("the filters");
            return match given.or_else(|| self.trace.given()).or(filtered) {
                Some(what) => Err(Usage(format!(
                    "doctor explain looks at nothing: leave out {what}, which it has no use for"
                ))),
                None => Ok(()),
            };
        }
        if let Some(flag) = self.trace.given_about_containers() {
            let why = "no finding has the name of a container";
            return Err(Usage(format!("{flag} does not apply to doctor: {why}; leave it out")));
        }
        match (&self.file, self.trace.given()) {
            (Some(_), Some(flag)) => Err(Usage(format!(
                "{flag} is for a live trace, and FILE is a recording: leave out one of them"
            ))),
            _ => Ok(()),
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    args.refuse_what_goes_with_nothing()?;
    if let Some(What::Explain { id }) = &args.what {
        return tell(id.as_deref());
    }
    let mut facts = match &args.file {
        Some(file) => {
            let recording = Recording::open(file)?;
            let filter = args.filters.recorded(file, recording.head())?;
            refuse_parts(&args.filters)?;
            let (facts, passed) = report::facts(recording, &filter, args.nat_ports)?;
            if let Some(nothing) = said_of_nothing(&filter, passed) {
                crate::note!("twtrace: {nothing}");
            }
            facts
        }
        None => {
            let filter = args.filters.live()?;
            refuse_parts(&args.filters)?;
            observe(args, filter)?
        }
    };
    let findings = diagnose(&facts);
    facts.of_others = of_others(&facts);
    let mut out = Vec::new();
    if args.json {
        json::line(&facts, &findings, &mut out);
    } else {
        out = in_locale(text::report(&facts, &findings, Paint::stdout())).into_bytes();
    }
    crate::output::print(&out)?;
    let is_critical = findings.iter().any(|finding| finding.severity == Severity::Critical);
    Ok(if args.exit_code && is_critical { Outcome::Critical } else { Outcome::Done })
}

/// The doctor weighs all that happened.
fn refuse_parts(filters: &FilterArgs) -> Result<(), Usage> {
    let Some(flag) = filters.of_events() else { return Ok(()) };
    Err(Usage(format!(
        "{flag} picks single events, and the doctor weighs all of them: use `twtrace events {flag} …`"
    )))
}

fn observe(args: &Args, filter: Filter) -> anyhow::Result<Facts> {
    let duration = args.trace.duration.unwrap_or(DURATION);
    let pace = Pace {
        most: Some(duration),
        // Whoever says how long wants to see what happens in that time.
        stops_early: args.trace.duration.is_none(),
        tell: std::io::stderr().is_terminal().then_some(notes::progress),
    };
    session::permit(&filter).map_err(session::Error::from)?;
    let mut watch = Watch::start(&filter, args.nat_ports, pace)?;
    let options = session::Options {
        probe: probe::Options { times_connect: true, ..args.trace.probe() },
        // A pool counts whole, whoever is asked about: a filter decides what is spoken of.
        filter: Filter { netns: filter.netns, failures: Some(Failures::All), ..Filter::default() },
        verify: false,
        verbose: args.trace.verbose,
        ready_file: args.trace.ready_file.clone(),
        duration: Some(duration),
        sandbox: !args.trace.no_sandbox,
        // No finding has them.
        runtimes: None,
        command_lines: false,
    };
    let done = runtime()?.block_on(session::run(&options, &mut watch));
    notes::end_progress();
    done?;
    // The reader of what is found may never read it.
    session::signals::let_go();
    Ok(watch.facts())
}

/// What there is to explain, a line for each.
fn index(paint: Paint) -> String {
    let mut out = String::new();
    for group in explain::index() {
        let columns = [Column::words(group.title).at_least(21), Column::words(group.about)];
        let mut table = Table::new(columns);
        group.stories.iter().for_each(|(name, line)| table.push([*name, *line].map(Cell::from)));
        table.put(paint, &mut out);
        out.push('\n');
    }
    out + "twtrace doctor explain NAME tells the whole story\n"
}

fn tell(id: Option<&str>) -> anyhow::Result<Outcome> {
    let mut stdout = std::io::stdout().lock();
    let Some(id) = id else {
        stdout.write_all(index(Paint::stdout()).as_bytes())?;
        return Ok(Outcome::Done);
    };
    let Some(story) = explain::explain(id) else {
        let shown = crate::model::escape::printable(id);
        return Err(Usage(format!(
            "there is no finding or remedy '{shown}'; `twtrace doctor explain` lists them"
        ))
        .into());
    };
    stdout.write_all(story.as_bytes())?;
    Ok(Outcome::Done)
}
