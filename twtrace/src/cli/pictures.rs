//! Owns: the flags that say how the live view and a replay are shown; and pictures of what is live, every interval, as text or JSON, on stdout.
//! Must not know: how it is traced, how a picture is laid out.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::values::{from_one, interval};
use crate::engine::{By, Tracker};
use crate::model::clock::Clock;
use crate::model::event::{Event, Reason};
use crate::model::limitation::Limitation;
use crate::output::{Units, Writer};
use crate::present::live::{self, Frame, Layout, Origin};
use crate::present::signs;
use crate::present::tui::{Theme, has_size};
use crate::source::{Flow, View};

/// How it is shown: the flags of the live view and of a replay.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Time between two refreshes; where nothing happens, the full screen waits for two seconds
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub(super) interval: Duration,
    /// Exit after N updates
    #[arg(long, value_name = "N", value_parser = from_one::<u64>)]
    pub(super) count: Option<u64>,
    /// Show one update after one interval, then exit
    #[arg(long, conflicts_with = "count")]
    pub(super) once: bool,
    /// Print plain text, as when stdout is not a terminal
    #[arg(long, conflicts_with = "json")]
    pub(super) plain: bool,
    /// Print one JSON object per update and line
    #[arg(long)]
    pub(super) json: bool,
    /// Show more columns and do not cut lines
    #[arg(long, conflicts_with = "json")]
    pub(super) wide: bool,
    /// Colours of the full screen [default: dark; mono if NO_COLOR is set]
    #[arg(long, value_name = "THEME", conflicts_with_all = ["plain", "json", "once", "count", "wide"])]
    pub(super) theme: Option<Theme>,
}

impl ShowArgs {
    /// Whether there is a terminal to fill, and nothing was asked for that belongs on paper.
    pub(super) fn wants_screen(&self) -> bool {
        let is_paper = self.once || self.plain || self.json || self.wide || self.count.is_some();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if is_paper || is_dumb || !std::io::stdout().is_terminal() {
            return false;
        }
        let has_size = has_size();
        if !has_size {
            crate::note!(
                "twtrace: the terminal does not say how large it is, so there is no full screen; `stty rows 24 cols 80` tells it"
            );
        }
        has_size
    }
}

enum Format {
    Json,
    Plain(Layout, jiff::tz::TimeZone),
}

/// Pictures that wait for their reader, in bytes; one that is longer waits alone.
const QUEUE_BYTES: usize = 256 << 10;

/// Pictures on stdout, each whole or not at all.
pub(super) struct Pictures {
    format: Format,
    interval_ns: u64,
    left: Option<u64>,
    next_ns: u64,
    /// The next picture is not the first.
    shown: bool,
    backend: &'static str,
    limitations: Vec<Limitation>,
    origin: Origin,
    writer: Writer,
    /// Of ends, only those for these reasons are of interest; none: all are.
    reasons: Vec<Reason>,
}

impl Pictures {
    pub(super) fn new(args: &ShowArgs, origin: Origin, reasons: Vec<Reason>) -> std::io::Result<Self> {
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
            limitations: Vec::new(),
            origin,
            writer: Writer::stdout(QUEUE_BYTES)?,
            reasons,
        })
    }

    /// Hands over a picture; says whether there was room for it.
    fn show(&self, tracker: &Tracker) -> std::io::Result<bool> {
        let wanted =
            if matches!(self.format, Format::Json) { By::ALL } else { &[By::Process, By::Tuple, By::Netns] };
        let snapshot = tracker.snapshot(wanted);
        let (slab_bytes, clock) = (self.origin.slab_bytes(), self.origin.clock());
        let limitations = self.limitations.clone();
        let (backend, recorded) = (self.backend, self.origin.recorded());
        let frame = Frame { snapshot, backend, slab_bytes, clock, limitations, recorded };
        let mut picture = Vec::new();
        match &self.format {
            Format::Json => live::json_line(&frame, &mut picture),
            Format::Plain(layout, zone) => {
                let mut text = String::from(if self.shown { "\n" } else { "" });
                live::plain(&frame, *layout, zone, &mut text);
                picture = signs::in_locale(text).into_bytes();
            }
        }
        self.writer.put(picture.into(), Units::One)
    }
}

impl View for Pictures {
    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        self.limitations = limitations.to_vec();
    }

    fn listed(&mut self, tracker: &mut Tracker) {
        tracker.count_only(&self.reasons);
    }

    fn begin(&mut self, clock: Clock) -> std::io::Result<()> {
        self.next_ns = clock.mono_ns.saturating_add(self.interval_ns);
        Ok(())
    }

    fn event(&mut self, _event: &Event) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    fn due_ns(&self) -> Option<u64> {
        Some(self.next_ns)
    }

    /// Whoever asks for less than an interval asks for a picture all the same.
    fn ended(&mut self, tracker: &Tracker) {
        if !self.shown {
            // What goes wrong is the writer's, which the source of events asks.
            let _ = self.show(tracker);
        }
    }

    fn output(&self) -> Option<&Writer> {
        Some(&self.writer)
    }

    fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) -> std::io::Result<Flow> {
        self.origin.run(tracker, now_ns)?;
        // The end of a trace looks once more at what has come.
        if self.left == Some(0) {
            return Ok(Flow::Stop);
        }
        if now_ns < self.next_ns {
            return Ok(Flow::Go);
        }
        // After a stop of the process, or a slow reader, there is one picture and not all that were missed.
        let missed = (now_ns - self.next_ns) / self.interval_ns;
        self.next_ns = self.next_ns.saturating_add(self.interval_ns.saturating_mul(missed + 1));
        if !self.show(tracker)? {
            return Ok(Flow::Go);
        }
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

    use super::*;

    /// What is written of a trace that takes so many intervals of a second.
    fn pictures(intervals: u64) -> String {
        let (mut reader, stdout) = std::io::pipe().unwrap();
        let clock = Clock { mono_ns: 1_000_000_000, wall_ns: 1 };
        let mut pictures = Pictures {
            format: Format::Json,
            interval_ns: 1_000_000_000,
            left: None,
            next_ns: 0,
            shown: false,
            backend: "fentry",
            limitations: Vec::new(),
            origin: Origin::Recorded(String::new(), clock),
            writer: Writer::start("a pipe", stdout.into(), QUEUE_BYTES).unwrap(),
            reasons: Vec::new(),
        };
        let mut tracker = Tracker::new();
        pictures.begin(clock).unwrap();
        for at in 1..=intervals {
            pictures.tick(&mut tracker, (1 + at) * 1_000_000_000).unwrap();
        }
        pictures.ended(&tracker);
        pictures.writer.finish(Instant::now() + Duration::from_secs(60));
        let mut text = String::new();
        drop(pictures);
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn less_than_an_interval_has_a_picture_and_more_has_none_besides() {
        for (intervals, want) in [(0, 1), (1, 1), (3, 3)] {
            assert_eq!(pictures(intervals).lines().count(), want, "{intervals}");
        }
    }
}
