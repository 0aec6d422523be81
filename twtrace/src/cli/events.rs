//! Owns: `twtrace events`: events as lines on stdout.
//! Must not know: how they are traced.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;

use super::filters::FilterArgs;
use super::values::{Usage, duration, ring_size};
use super::{Outcome, runtime};
use crate::clock::Clock;
use crate::event::{Event, Kind};
use crate::output::{Json, Text};
use crate::probe::{self, Backend};
use crate::session::{self, Flow, View};
use crate::tracker::Tracker;

/// How to trace: the flags of every command that attaches hooks.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Tracing")]
pub(super) struct TraceArgs {
    /// auto, fentry, kprobe or tracepoint
    #[arg(long, default_value = "auto", value_parser = backend)]
    pub(super) backend: Choice,
    /// Stop after this long, such as 30s
    #[arg(long, value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// Create this file once all hooks are attached
    #[arg(long, value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,
    /// Memory between kernel and twtrace, rounded up to a power of two
    #[arg(long, value_name = "BYTES", default_value = "4M", value_parser = ring_size)]
    pub(super) ring_size: u32,
    /// Print the kernel side's debug log on stderr
    #[arg(long)]
    pub(super) debug_log: bool,
}

/// `--backend`; `None` is auto.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice(pub(super) Option<Backend>);

fn backend(word: &str) -> Result<Choice, String> {
    if word == "auto" { Ok(Choice(None)) } else { word.parse().map(|backend| Choice(Some(backend))) }
}

impl TraceArgs {
    pub(super) fn probe(&self) -> probe::Options {
        probe::Options {
            backend: self.backend.0,
            ring_bytes: self.ring_size,
            debug_log: self.debug_log,
            ..probe::Options::default()
        }
    }
}

/// `twtrace events`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Never cut a line at 99 columns
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// At the end, compare with the kernel's own counters; a difference that is not explained by loss is exit status 1
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<Outcome> {
    let filter = args.filters.filter()?;
    if args.verify && !filter.only_netns() {
        let hint = "--verify compares with counters of whole network namespaces: use it without filters other than --netns";
        return Err(Usage(hint.to_owned()).into());
    }
    let options = session::Options {
        probe: args.trace.probe(),
        filter,
        verify: args.verify,
        ready_file: args.trace.ready_file.clone(),
        duration: args.trace.duration,
    };
    let mut view = Lines::new(args.json, args.wide, args.count);
    let summary = runtime()?.block_on(session::run(&options, &mut view))?;
    if summary.unread {
        return Ok(Outcome::Done);
    }
    eprintln!("{summary}");
    if let Some(verdict) = &summary.verdict {
        eprintln!("{verdict}");
        if !verdict.holds() {
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Done)
}

enum Format {
    Json(Json),
    Text(Text),
}

/// Lines on stdout. What is written in one turn goes out in one write.
struct Lines {
    format: Format,
    left: Option<u64>,
    buffer: BytesMut,
}

/// Written out at the latest when this much has gathered.
const BUFFER_BYTES: usize = 64 << 10;

impl Lines {
    fn new(json: bool, wide: bool, count: Option<u64>) -> Self {
        let clock = Clock::read();
        let format = if json { Format::Json(Json::new(clock)) } else { Format::Text(Text::new(clock, wide)) };
        Self { format, left: count, buffer: BytesMut::with_capacity(2 * BUFFER_BYTES) }
    }

    fn write_out(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // Straight to the descriptor: nothing is held back in a buffer of ours when stdout is a pipe.
        let written =
            std::io::stdout().lock().write_all(&self.buffer).and_then(|()| std::io::stdout().flush());
        self.buffer.clear();
        written
    }
}

impl View for Lines {
    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        if let Format::Text(text) = &self.format {
            self.buffer.extend_from_slice(text.header().as_bytes());
        }
        self.write_out()
    }

    fn event(&mut self, event: &Event) -> std::io::Result<Flow> {
        if self.left == Some(0) {
            return Ok(Flow::Stop);
        }
        match &mut self.format {
            Format::Json(json) => json.line(event, &mut self.buffer),
            Format::Text(text) => text.line(event, &mut self.buffer),
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        if event.kind != Kind::Lost
            && let Some(left) = &mut self.left
        {
            *left -= 1;
            if *left == 0 {
                self.write_out()?;
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Go)
    }

    fn batch(&mut self, _world: &Tracker) -> std::io::Result<Flow> {
        self.write_out().map(|()| Flow::Go)
    }
}
