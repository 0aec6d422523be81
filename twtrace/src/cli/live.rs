//! Owns: `twtrace` without a command: the world now, as a screen where there is one, else as a picture every interval.
//! Must not know: how it is traced, how a picture is laid out.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use super::Outcome;
use super::events::TraceArgs;
use super::filters::FilterArgs;
use super::runtime;
use super::values::{Usage, duration};
use crate::clock::Clock;
use crate::event::{Event, Reason};
use crate::live::{self, Frame, Layout, Upkeep};
use crate::session::{self, Flow, View};
use crate::tracker::{By, Tracker};
use crate::tui::{Screen, Theme};

/// The ring is looked at about this often, so there is nothing new to show more often.
const SHORTEST: Duration = Duration::from_millis(100);

/// `twtrace`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Time between two pictures
    #[arg(long, default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// Stop after this many pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// One picture, after one interval
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// Plain text, as it is when stdout is no terminal
    #[arg(long, conflicts_with = "json")]
    plain: bool,
    /// One JSON object a picture, on a line
    #[arg(long)]
    json: bool,
    /// More columns, and lines are never cut
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// Colours of the screen; dark where none is named, and mono where NO_COLOR is set
    #[arg(long, value_name = "THEME", conflicts_with_all = ["plain", "json", "once", "count", "wide"])]
    theme: Option<Theme>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.interval < SHORTEST {
        return Err(Usage(format!("--interval {:?} is too short: give at least 100ms", args.interval)).into());
    }
    let filter = args.filters.filter()?;
    let reasons = filter.reasons.clone();
    let options = session::Options {
        probe: args.trace.probe(),
        filter,
        verify: false,
        ready_file: args.trace.ready_file.clone(),
        duration: args.trace.duration,
    };
    let mut view: Box<dyn View> = if wants_screen(args) {
        Box::new(Screen::new(args.interval, args.theme, reasons)?)
    } else {
        Box::new(Pictures::new(args, reasons)?)
    };
    runtime()?.block_on(session::run(&options, view.as_mut()))?;
    Ok(Outcome::Done)
}

/// Whether there is a terminal to fill, and nothing was asked for that belongs on paper.
fn wants_screen(args: &Args) -> bool {
    let is_paper = args.once || args.plain || args.json || args.wide || args.count.is_some();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !is_paper && !is_dumb && std::io::stdout().is_terminal()
}

enum Format {
    Json,
    Plain(Layout, jiff::tz::TimeZone),
}

/// Pictures on stdout, each in one write.
struct Pictures {
    format: Format,
    interval_ns: u64,
    left: Option<u64>,
    next_ns: u64,
    /// The next picture is not the first.
    shown: bool,
    backend: &'static str,
    upkeep: Upkeep,
    /// Of ends, only those for these reasons are of interest; none: all are.
    reasons: Vec<Reason>,
}

impl Pictures {
    fn new(args: &Args, reasons: Vec<Reason>) -> std::io::Result<Self> {
        let layout = Layout { wide: args.wide, interval_s: args.interval.as_secs() };
        Ok(Self {
            format: if args.json {
                Format::Json
            } else {
                Format::Plain(layout, jiff::tz::TimeZone::system())
            },
            interval_ns: u64::try_from(args.interval.as_nanos()).unwrap_or(u64::MAX),
            left: if args.once { Some(1) } else { args.count },
            next_ns: 0,
            shown: false,
            backend: "",
            upkeep: Upkeep::start()?,
            reasons,
        })
    }

    fn show(&self, world: &Tracker) -> std::io::Result<()> {
        let wanted = if matches!(self.format, Format::Json) { By::ALL } else { &[By::Process] };
        let snapshot = world.snapshot(wanted);
        // Clocks drift apart, and the calendar is set: read both again for each picture.
        let (slab_bytes, clock) = (self.upkeep.slab_bytes(), Clock::read());
        let frame = Frame { snapshot, backend: self.backend, slab_bytes, clock };
        let mut picture = Vec::new();
        match &self.format {
            Format::Json => live::json_line(&frame, &mut picture),
            Format::Plain(layout, zone) => {
                let mut text = String::from(if self.shown { "\n" } else { "" });
                live::plain(&frame, *layout, zone, &mut text);
                if !live::has_unicode() {
                    // Where something was cut; names are as they are.
                    text = text.replace('…', "~");
                }
                picture = text.into_bytes();
            }
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&picture).and_then(|()| stdout.flush())
    }
}

impl View for Pictures {
    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
    }

    fn listed(&mut self, world: &mut Tracker) {
        world.count_only(&self.reasons);
    }

    fn begin(&mut self, clock: Clock) -> std::io::Result<()> {
        self.next_ns = clock.mono_ns.saturating_add(self.interval_ns);
        Ok(())
    }

    fn event(&mut self, _event: &Event) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    fn batch(&mut self, _world: &Tracker) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    fn tick(&mut self, world: &mut Tracker, now_ns: u64) -> std::io::Result<Flow> {
        self.upkeep.run(world, now_ns);
        if now_ns < self.next_ns {
            return Ok(Flow::Go);
        }
        // After a stop of the process, or a slow reader, there is one picture and not all that were missed.
        let missed = (now_ns - self.next_ns) / self.interval_ns;
        self.next_ns = self.next_ns.saturating_add(self.interval_ns.saturating_mul(missed + 1));
        self.show(world)?;
        self.shown = true;
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Go)
    }
}
