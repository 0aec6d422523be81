//! Owns: `twtrace events`: events as lines on stdout.
//! Must not know: how they are traced.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::filters::FilterArgs;
use super::values::{Usage, duration, first_given, from_one, one_of, ring_size};
use super::{Outcome, runtime};
use crate::engine::Tracker;
use crate::host::buffers::Buffers;
use crate::kernel::probe::{self, Backend};
use crate::model::clock::{self, Clock};
use crate::model::event::{Event, Kind};
use crate::model::filter::Filter;
use crate::model::limitation::Limitation;
use crate::output::paint::Paint;
use crate::output::room::terminal_columns;
use crate::output::{Json, Text, Units, Writer};
use crate::source::session;
use crate::source::{Flow, View};

/// How to trace: the flags of every command that attaches hooks.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Tracing")]
pub(super) struct TraceArgs {
    /// How to attach to the kernel
    #[arg(long, default_value = "auto", value_parser = one_of(&Choice::ALL, Choice::word))]
    pub(super) backend: Choice,
    /// Stop after this long, such as 30s
    #[arg(long, value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// Create this file once all hooks are attached
    #[arg(long, value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,
    /// Size of the ring buffer between the kernel and twtrace, rounded up to a power of two [default: 4M]
    #[arg(long, value_name = "BYTES", value_parser = ring_size)]
    pub(super) ring_size: Option<u32>,
    /// Say on stderr which backend is used, and why others are not available
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Print the debug log of the BPF programs on stderr
    #[arg(long)]
    pub(super) debug_log: bool,
    /// With the tracepoint backend, do not attach to system calls: they stay as fast as before, but bind_failed events and the
    /// process that accepted a connection are unknown
    #[arg(long)]
    pub(super) no_syscalls: bool,
    /// Keep all capabilities and system calls after attaching, which is for finding out what goes wrong
    #[arg(long)]
    pub(super) no_sandbox: bool,
    /// Ask no container runtime (Docker, Podman, containerd, CRI-O) what containers and pods are called
    #[arg(long)]
    pub(super) no_container_names: bool,
    /// Ask at this socket as well, whichever runtime it is of; can be given more than once
    #[arg(long, value_name = "PATH")]
    pub(super) runtime_socket: Vec<PathBuf>,
}

/// `--backend`; `None` is auto.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice(pub(super) Option<Backend>);

impl Choice {
    const ALL: [Self; 4] = [
        Self(None),
        Self(Some(Backend::Fentry)),
        Self(Some(Backend::Kprobe)),
        Self(Some(Backend::Tracepoint)),
    ];

    fn word(self) -> &'static str {
        self.0.map_or("auto", Backend::word)
    }
}

/// Of the ring, where nobody says otherwise: the 4M of its help.
const RING_BYTES: u32 = 4 << 20;

impl TraceArgs {
    /// A trace of what `filter` lets pass.
    pub(super) fn options(&self, filter: Filter) -> session::Options {
        session::Options {
            probe: self.probe(),
            filter,
            verify: false,
            verbose: self.verbose,
            ready_file: self.ready_file.clone(),
            duration: self.duration,
            sandbox: !self.no_sandbox,
            runtimes: (!self.no_container_names).then(|| self.runtime_socket.clone()),
            command_lines: false,
        }
    }

    /// The first of these flags that was given; a backend that is chosen by itself is none.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = first_given(&[
            (self.backend.0.is_some(), "--backend"),
            (self.duration.is_some(), "--duration"),
            (self.ready_file.is_some(), "--ready-file"),
            (self.ring_size.is_some(), "--ring-size"),
            (self.verbose, "--verbose"),
            (self.debug_log, "--debug-log"),
            (self.no_syscalls, "--no-syscalls"),
            (self.no_sandbox, "--no-sandbox"),
        ]);
        given.or_else(|| self.given_about_containers())
    }

    /// As [`Self::given`], of those about the names of containers.
    pub(super) fn given_about_containers(&self) -> Option<&'static str> {
        let asks_elsewhere = (!self.runtime_socket.is_empty()).then_some("--runtime-socket");
        asks_elsewhere.or(self.no_container_names.then_some("--no-container-names"))
    }

    pub(super) fn probe(&self) -> probe::Options {
        probe::Options {
            backend: self.backend.0,
            ring_bytes: self.ring_size.unwrap_or(RING_BYTES),
            debug_log: self.debug_log,
            no_syscalls: self.no_syscalls,
            ..probe::Options::default()
        }
    }
}

/// `twtrace events`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Do not cut lines at 99 columns, or at those of the terminal
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = from_one::<u64>)]
    count: Option<u64>,
    /// At the end, compare with the kernel's own counters; exit with status 1 if lost events do not explain a difference
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let filter = args.filters.live()?;
    if args.verify && !filter.only_netns() {
        let hint = "--verify compares with counters of whole network namespaces: use it without filters other than --netns";
        return Err(Usage(hint.to_owned()).into());
    }
    let options = session::Options { verify: args.verify, ..args.trace.options(filter) };
    let mut view = Lines::new(args.json, args.wide, args.count)?;
    let summary = runtime()?.block_on(session::run(&options, &mut view))?;
    if summary.unread {
        return Ok(Outcome::Done);
    }
    crate::note!("{summary}");
    if let Some(verdict) = &summary.verdict {
        crate::note!("{verdict}");
        if !verdict.holds() {
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Done)
}

enum Format {
    Json(Box<Json>),
    Text(Text),
}

/// Lines on stdout. What is written in one turn goes out in one piece.
struct Lines {
    format: Format,
    /// Events to tell; all, where nobody says.
    count: Option<u64>,
    /// Events that were handed to the writer.
    told: u64,
    /// Limitations that are written already.
    limited: usize,
    buffer: BytesMut,
    buffers: Buffers,
    /// What is to be written without being counted.
    notes: BytesMut,
    /// Events in the buffer, and sockets from before, which nobody counts.
    held: u64,
    listed: u64,
    /// A loss that there was no room to tell of.
    lost: Option<Event>,
    writer: Writer,
}

/// Handed over at the latest when this much has gathered.
const BUFFER_BYTES: usize = 64 << 10;
/// Buffers that are kept: as many full ones wait for a reader at most.
const MOST_SPARE: usize = 16;
/// This much may wait for its reader.
const QUEUE_BYTES: usize = 1 << 20;

impl Lines {
    fn new(json: bool, wide: bool, count: Option<u64>) -> std::io::Result<Self> {
        let clock = Clock::read();
        let format = if json {
            Format::Json(Box::new(Json::new(clock)))
        } else {
            Format::Text(Text::new(clock, wide, Paint::stdout()).within(terminal_columns()))
        };
        let buffers = Buffers::new(2 * BUFFER_BYTES, MOST_SPARE);
        Ok(Self {
            format,
            count,
            told: 0,
            limited: 0,
            buffer: buffers.take(),
            buffers,
            notes: BytesMut::new(),
            held: 0,
            listed: 0,
            lost: None,
            writer: Writer::stdout(QUEUE_BYTES)?,
        })
    }

    fn put(&mut self, event: &Event) {
        match &mut self.format {
            Format::Json(json) => json.line(event, &mut self.buffer),
            Format::Text(text) => text.line(event, &mut self.buffer),
        }
    }

    /// Hands over what is in the buffer; `false` where there is no room for it.
    fn hand_over(&mut self, units: Units) -> std::io::Result<bool> {
        // A queue of few lines each would hold a buffer for each few.
        let lines = if self.buffer.len() < BUFFER_BYTES / 4 {
            let lines = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
            lines
        } else {
            self.buffers.finish(&mut self.buffer).into()
        };
        self.writer.put(lines, units)
    }

    /// Hands over what there is; what there is no room for is counted as lost, and a loss is told of as soon as there is room.
    fn write_out(&mut self) -> std::io::Result<Flow> {
        // Where there is no room, stderr has it.
        if !self.notes.is_empty() {
            self.writer.put(self.notes.split().freeze(), Units::None)?;
        }
        let (held, listed) = (std::mem::take(&mut self.held), std::mem::take(&mut self.listed));
        let lines = held + listed;
        if lines != 0 && self.hand_over(Units::Lines(lines))? {
            self.told += held;
        }
        if self.lost.is_some() && self.writer.has_room() {
            let lost = self.lost.take();
            lost.iter().for_each(|lost| self.put(lost));
            if !self.hand_over(Units::None)? {
                self.lost = lost;
            }
        }
        Ok(if self.count == Some(self.told) { Flow::Stop } else { Flow::Go })
    }

    /// Keeps a loss until it can be told of.
    fn lose(&mut self, event: &Event) {
        let mut event = event.clone();
        if let (Some(before), Some(loss)) = (self.lost.take().and_then(|lost| lost.loss), &mut event.loss) {
            **loss = loss.and(&before);
        }
        self.lost = Some(event);
    }
}

impl View for Lines {
    fn listed(&mut self, tracker: &mut Tracker) {
        tracker.count_by_netns();
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        let now_ns = clock::mono_ns();
        for limitation in limitations.iter().skip(self.limited) {
            match &mut self.format {
                Format::Json(json) => json.limitation(limitation, now_ns, &mut self.notes),
                // A terminal has it already: it goes to stderr as well.
                Format::Text(_) if std::io::stdout().is_terminal() => {}
                Format::Text(_) => self.notes.extend_from_slice(format!("# {limitation}\n").as_bytes()),
            }
        }
        self.limited = limitations.len();
    }

    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        if let Format::Text(text) = &self.format {
            self.writer.put(text.header().to_owned().into(), Units::None)?;
        }
        self.write_out().map(drop)
    }

    fn event(&mut self, event: &Event) -> std::io::Result<Flow> {
        // What comes while the trace ends is more than was asked for.
        if self.count.is_some_and(|count| self.told + self.held >= count) {
            return self.write_out();
        }
        if event.kind == Kind::Lost {
            // In its place among the events.
            let flow = self.write_out()?;
            self.lose(event);
            return if flow == Flow::Go { self.write_out() } else { Ok(flow) };
        }
        self.put(event);
        if event.kind == Kind::Listed {
            self.listed += 1;
        } else {
            self.held += 1;
        }
        let is_last = self.count.is_some_and(|count| self.told + self.held == count);
        if is_last || self.buffer.len() >= BUFFER_BYTES { self.write_out() } else { Ok(Flow::Go) }
    }

    fn batch(&mut self, _tracker: &Tracker) -> std::io::Result<Flow> {
        self.write_out()
    }

    fn tick(&mut self, _tracker: &mut Tracker, _now_ns: u64) -> std::io::Result<Flow> {
        let now = Clock::read();
        match &mut self.format {
            Format::Json(json) => json.follow(now),
            Format::Text(text) => text.follow(now),
        }
        self.write_out()
    }

    fn output(&self) -> Option<&Writer> {
        Some(&self.writer)
    }

    fn event_output(&self) -> Option<&Writer> {
        Some(&self.writer)
    }
}
