//! Owns: `twtrace demo`: the main job on a small load that it makes itself.
//! Must not know: how the load is made, how events are traced.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::Context as _;

use super::events::TraceArgs;
use super::filters::hide;
use super::values::Usage;
use super::{Outcome, runtime};
use crate::engine::Tracker;
use crate::host::demo::{self, First, Load, PORTS, SERVED, TOO_MANY};
use crate::model::clock::Clock;
use crate::model::event::{Event, Kind};
use crate::model::figures::grouped;
use crate::model::filter::Filter;
use crate::output::Text;
use crate::output::paint::Paint;
use crate::output::room::terminal_columns;
use crate::present::table::{Cell, Column, Table};
use crate::source::session;
use crate::source::{Flow, View};

/// `twtrace demo`
#[derive(Debug, clap::Args)]
#[command(mut_args(hide(&["no_sandbox", "no_container_names", "runtime_socket"])))]
pub(super) struct Args {
    #[command(flatten)]
    trace: TraceArgs,
}

/// A process of the demo; not for people.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Actor {
    /// Answers connections
    Serve { name: String, port: u16, first: First },
    /// Makes connections
    Connect { name: String, port: u16, times: u16, first: First },
}

pub(super) fn act(actor: &Actor) -> anyhow::Result<Outcome> {
    match actor {
        Actor::Serve { name, port, first } => demo::serve(name, *port, *first)?,
        Actor::Connect { name, port, times, first } => demo::connect(name, *port, *times, *first)?,
    }
    Ok(Outcome::Done)
}

/// Whoever gives an option expects it to matter.
fn refuse_what_goes_with_nothing(trace: &TraceArgs) -> Result<(), Usage> {
    let why = "it gives up no power, as it starts processes while it traces";
    let of_sandbox = trace.no_sandbox.then_some(("--no-sandbox", why));
    let of_names = trace.given_about_containers().map(|flag| (flag, "it shows no names of containers"));
    match of_sandbox.or(of_names) {
        Some((flag, why)) => Err(Usage(format!("{flag} does not apply to demo: {why}; leave it out"))),
        None => Ok(()),
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    refuse_what_goes_with_nothing(&args.trace)?;
    if let Err(cannot) = crate::kernel::probe::permitted() {
        return Err(session::Error::from(cannot).into());
    }
    let load = Arc::new(Load::new()?);
    writeln!(
        io::stdout(),
        "In a network namespace of its own, with {PORTS} ephemeral ports:\n\
         - checkout-api asks a database {} times, each time over a new connection that it closes first;\n\
         - load-gen fetches {SERVED} pages from a proxy, which closes first.\n",
        PORTS + TOO_MANY
    )?;
    let options = session::Options {
        probe: args.trace.probe(),
        filter: Filter { netns: vec![load.netns], ..Filter::default() },
        verify: true,
        verbose: args.trace.verbose,
        ready_file: args.trace.ready_file.clone(),
        duration: args.trace.duration,
        // Its processes are started while the trace goes on.
        sandbox: false,
        runtimes: None,
        command_lines: false,
    };
    let mut view = Story::new(Arc::clone(&load));
    let summary = runtime()?.block_on(session::run(&options, &mut view))?;
    view.outcome.take().context("the demo was stopped before its story ended")??;
    view.table()?;
    let verdict = summary.verdict.as_ref().context("the demo was not verified")?;
    writeln!(
        io::stdout(),
        "\nThe kernel's own counters for that namespace beside what twtrace told:\n\n{verdict}"
    )?;
    let told = (summary.counts.created, summary.counts.connect_failed, summary.loss.events());
    let as_run = told == (u64::from(PORTS + SERVED), u64::from(TOO_MANY), 0);
    if !as_run {
        writeln!(
            io::stdout(),
            "created, connect_failed and lost should be {}, {TOO_MANY} and 0",
            PORTS + SERVED
        )?;
    }
    Ok(if as_run && verdict.holds() { Outcome::Done } else { Outcome::Failed })
}

/// How often the end of the story is looked for, in nanoseconds.
const POLL_NS: u64 = 25_000_000;
/// Lines shown of each kind of event and process; the rest is counted.
const SHOWN: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DemoRow {
    pid: u32,
    kind: Kind,
}

/// Shows the first events, and counts all by owner.
struct Story {
    load: Arc<Load>,
    text: Text,
    rows: BTreeMap<DemoRow, (Event, u64)>,
    ended: Option<Receiver<anyhow::Result<()>>>,
    outcome: Option<anyhow::Result<()>>,
}

impl Story {
    fn new(load: Arc<Load>) -> Self {
        let text = Text::new(Clock::read(), false, Paint::stdout()).within(terminal_columns());
        Self { load, text, rows: BTreeMap::new(), ended: None, outcome: None }
    }

    fn table(&self) -> io::Result<()> {
        let words = ["PROCESS", "EVENT"].map(Column::words);
        let rest = [Column::numbers("COUNT"), Column::words("DESTINATION"), Column::words("VIA")];
        let mut table = Table::new([Column::numbers("PID")].into_iter().chain(words).chain(rest));
        for (event, count) in self.rows.values() {
            let Some((owner, conn)) = event.owner.zip(event.conn) else { continue };
            let towards = match event.role {
                crate::model::event::Role::Server => format!("clients of port {}", conn.sport),
                _ => format!("{}:{}", conn.daddr, conn.dport),
            };
            let how =
                event.via.map(|via| via.word()).or(event.errno.map(|errno| errno.word())).unwrap_or_default();
            let name = crate::model::escape::process_name(&owner.comm.text()).into_owned();
            let kind = Cell::new(event.kind.to_string(), event.kind.into());
            let texts = [grouped(*count), towards, how.to_owned()].map(Cell::from);
            table.push([owner.pid.to_string().into(), name.into(), kind].into_iter().chain(texts));
        }
        let mut out = "\n".to_owned();
        table.put(Paint::stdout(), &mut out);
        io::stdout().write_all(out.as_bytes())
    }
}

impl View for Story {
    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        write!(io::stdout(), "{}", self.text.header())?;
        let (tell, ended) = channel();
        let load = Arc::clone(&self.load);
        std::thread::Builder::new().name("demo-story".to_owned()).spawn(move || {
            let _ = tell.send(load.run());
        })?;
        self.ended = Some(ended);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> std::io::Result<Flow> {
        let row = DemoRow { pid: event.owner.map_or(0, |owner| owner.pid), kind: event.kind };
        let (_, count) = self.rows.entry(row).or_insert_with(|| (event.clone(), 0));
        *count += 1;
        if *count <= SHOWN {
            let mut line = bytes::BytesMut::new();
            self.text.line(event, &mut line);
            std::io::stdout().write_all(&line)?;
        } else if *count == SHOWN + 1 {
            writeln!(io::stdout(), "{:12} …", "")?;
        }
        Ok(Flow::Go)
    }

    fn due_ns(&self) -> Option<u64> {
        Some(crate::model::clock::mono_ns() + POLL_NS)
    }

    fn tick(&mut self, _tracker: &mut Tracker, _now_ns: u64) -> std::io::Result<Flow> {
        // The kernel says each event in the very call that causes it: when the processes are done, all are in the ring.
        match self.ended.as_ref().map(Receiver::try_recv) {
            Some(Ok(outcome)) => {
                self.outcome = Some(outcome);
                Ok(Flow::Stop)
            }
            Some(Err(TryRecvError::Disconnected)) => Ok(Flow::Stop),
            _ => Ok(Flow::Go),
        }
    }
}
