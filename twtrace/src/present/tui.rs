//! Owns: the live view as a full screen. Only what is in here knows ratatui and crossterm.
//! Must not know: how it is traced, the command line.

mod display;
mod draw;
mod journal;
mod offscreen;
mod palette;
mod state;
mod terminal;
mod value;
mod views;

#[cfg(test)]
mod tests;

pub use offscreen::Offscreen;
pub use palette::Theme;
pub use terminal::has_size;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use self::display::{About, Display};
use self::journal::Journal;
use self::palette::Palette;
use self::state::Wish;
use self::terminal::{Guard, Inputs};
use crate::engine::Tracker;
use crate::model::clock::Clock;
use crate::model::event::{Event, Kind, Reason};
use crate::model::filter::{Filter, by_name};
use crate::model::limitation::Limitation;
use crate::present::live::Origin;
use crate::recording::Head;
use crate::source::replay::Remote;
use crate::source::{Flow, View};

/// Nobody reads faster.
const SHORTEST: Duration = Duration::from_millis(250);
/// Nobody waits longer.
const LONGEST: Duration = Duration::from_secs(64);
/// A picture that only time would change is renewed no sooner, so that an idle machine sleeps.
const QUIET: Duration = Duration::from_secs(2);
/// How soon a picture is tried again that the terminal had no room for, in nanoseconds.
const BEHIND_NS: u64 = 25_000_000;
/// Keys that are answered before events are looked at again.
const INPUTS: usize = 64;

/// The screen as a view of a session. The terminal is taken when tracing begins, and given back when this is dropped.
#[derive(Debug)]
pub struct Screen {
    interval_ns: u64,
    /// When the last picture was taken, CLOCK_MONOTONIC; `None` before the first.
    taken_ns: Option<u64>,
    /// No event was told since.
    is_quiet: bool,
    guard: Option<Guard>,
    inputs: Option<Inputs>,
    waker: Arc<Notify>,
    origin: Origin,
    /// Who feeds it from a recording listens to this.
    remote: Option<Remote>,
    backend: &'static str,
    limitations: Vec<Limitation>,
    display: Display,
    wish: Wish,
    /// Of ends, only those for these reasons are of interest; none: all are.
    reasons: Vec<Reason>,
    /// The filters that leave something out, as flags.
    filters: Vec<String>,
    /// stderr is a terminal too.
    is_written_over: bool,
}

impl Screen {
    /// A screen that shows a new picture every `interval`, 250 ms at the least. Keys are answered at once. Without
    /// a `theme`, the environment says which colours there are. What is shown passed `filter`.
    ///
    /// # Errors
    /// If the thread that asks the kernel cannot be started.
    pub fn new(interval: Duration, theme: Option<Theme>, filter: &Filter) -> std::io::Result<Self> {
        Ok(Self::of(Origin::here()?, interval, theme, filter))
    }

    /// A screen for a replay, which has keys for that. `head` is the recording's: what its filters left out is not there to be seen. `remote`
    /// goes to who feeds the screen.
    pub fn replaying(
        remote: Remote,
        head: &Head,
        interval: Duration,
        theme: Option<Theme>,
        filter: &Filter,
    ) -> Self {
        let mut screen = Self::of(Origin::Recorded(head.host.clone(), head.clock()), interval, theme, filter);
        let name = |inode| head.namespaces.iter().find(|known| known.netns == inode)?.name.clone();
        screen.filters = by_name(head.flags().chain(filter.words()), name);
        screen.display.state.replay = Some(remote.replaying());
        screen.remote = Some(remote);
        screen
    }

    fn of(origin: Origin, interval: Duration, theme: Option<Theme>, filter: &Filter) -> Self {
        Self {
            interval_ns: u64::try_from(interval.max(SHORTEST).as_nanos()).unwrap_or(u64::MAX),
            taken_ns: None,
            is_quiet: false,
            guard: None,
            inputs: None,
            waker: Arc::default(),
            origin,
            remote: None,
            backend: "",
            limitations: Vec::new(),
            display: Display::new(Palette::from_environment(theme)),
            wish: Wish::Draw,
            reasons: filter.reasons.clone(),
            filters: filter.words(),
            is_written_over: std::io::stderr().is_terminal(),
        }
    }

    /// Tells the other end of a replay what the user wants, and hears how it goes.
    fn agree(&mut self) -> bool {
        let Some(remote) = &self.remote else { return false };
        remote.pause(self.display.state.is_paused);
        self.display.state.replay = Some(remote.replaying());
        remote.takes_picture()
    }

    /// What the next thing that was typed or clicked asks for, if it asks for anything. Never waits.
    fn listen(&mut self) -> std::io::Result<Wish> {
        let Some(inputs) = &self.inputs else { return Ok(Wish::Nothing) };
        while let Some(input) = inputs.next()? {
            let wish = self.display.hear(&input);
            if wish != Wish::Nothing {
                return Ok(wish);
            }
        }
        Ok(Wish::Nothing)
    }

    /// Half as long, or twice.
    fn change_interval(&mut self, is_shorter: bool) {
        let wanted_ns = if is_shorter { self.interval_ns / 2 } else { self.interval_ns.saturating_mul(2) };
        // What was asked for on the command line may be longer.
        let longest_ns = self.interval_ns.max(LONGEST.as_nanos() as u64);
        self.interval_ns = wanted_ns.clamp(SHORTEST.as_nanos() as u64, longest_ns);
        self.display.state.every = Some(Duration::from_nanos(self.interval_ns));
        self.wish = Wish::Draw;
    }

    /// When the next picture is due, CLOCK_MONOTONIC. A replay's are paced by the recording.
    fn next_ns(&self) -> u64 {
        let is_quiet = self.is_quiet && self.remote.is_none();
        let quiet_ns = if is_quiet { QUIET.as_nanos() as u64 } else { 0 };
        self.taken_ns.map_or(0, |taken_ns| taken_ns.saturating_add(self.interval_ns.max(quiet_ns)))
    }

    fn refresh(&mut self, tracker: &Tracker, now_ns: u64) {
        (self.taken_ns, self.is_quiet) = (Some(now_ns), true);
        let zone = jiff::tz::TimeZone::system();
        let (slab_bytes, clock) = (self.origin.slab_bytes(), self.origin.clock());
        let (limitations, filters) = (self.limitations.clone(), self.filters.clone());
        let (backend, recorded) = (self.backend, self.origin.recorded());
        let about = About { backend, slab_bytes, clock, zone, limitations, filters, recorded };
        self.display.refresh(tracker, about);
        if self.wish == Wish::Nothing {
            self.wish = Wish::Draw;
        }
    }

    /// Draws what is wished for.
    fn show(&mut self, tracker: &Tracker) -> std::io::Result<()> {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        // A terminal that takes nothing is not to be waited for: it gets a picture once it has taken the last one.
        if !guard.is_idle()? {
            return Ok(());
        }
        match self.wish {
            Wish::Nothing | Wish::Quit | Wish::Copy | Wish::Replay(_) | Wish::Interval { .. } => {
                return Ok(());
            }
            Wish::Draw => {}
            Wish::Repaint => {
                // Not clear(), which asks the terminal where its cursor is: the answer would come as something typed.
                let area = guard.terminal.size()?.into();
                guard.terminal.resize(area)?;
            }
        }
        self.wish = Wish::Nothing;
        guard.terminal.draw(|frame| self.display.draw(tracker, frame.area(), frame.buffer_mut()))?;
        Ok(())
    }
}

impl View for Screen {
    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        self.limitations = limitations.to_vec();
        self.is_quiet = false;
        if self.is_written_over && self.guard.is_some() {
            // What the session says of that on stderr lands on the screen.
            self.wish = Wish::Repaint;
        }
    }

    fn listed(&mut self, tracker: &mut Tracker) {
        tracker.count_only(&self.reasons);
    }

    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        self.guard = Some(Guard::take()?);
        self.inputs = Some(Inputs::listen(Arc::clone(&self.waker))?);
        Ok(())
    }

    fn wake_with(&mut self, waker: Arc<Notify>) {
        self.waker = waker;
    }

    fn due_ns(&self) -> Option<u64> {
        let is_behind = !matches!(self.wish, Wish::Nothing);
        let again_ns = is_behind.then(|| crate::model::clock::mono_ns() + BEHIND_NS);
        let next_ns = (!self.display.state.is_paused).then(|| self.next_ns());
        again_ns.into_iter().chain(next_ns).min()
    }

    fn restarted(&mut self) {
        self.display.journal = Journal::default();
    }

    fn event(&mut self, event: &Event) -> std::io::Result<Flow> {
        self.is_quiet = false;
        self.display.journal.note(event);
        if event.kind == Kind::Lost && self.is_written_over {
            // What the session says of that on stderr lands on the screen.
            self.wish = Wish::Repaint;
        }
        Ok(Flow::Go)
    }

    fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) -> std::io::Result<Flow> {
        if terminal::has_gone() {
            return Ok(Flow::Stop);
        }
        self.origin.run(tracker, now_ns)?;
        let is_new = self.agree();
        let is_seeking = self.display.state.replay.is_some_and(|replaying| replaying.is_seeking);
        if is_new || now_ns >= self.next_ns() && (is_seeking || !self.display.state.is_paused) {
            self.refresh(tracker, now_ns);
        }
        for _ in 0..INPUTS {
            if self.display.is_stale() {
                self.refresh(tracker, now_ns);
            }
            self.show(tracker)?;
            match self.listen()? {
                Wish::Nothing => break,
                Wish::Quit => return Ok(Flow::Stop),
                Wish::Replay(command) => {
                    if let Some(remote) = &self.remote {
                        remote.press(command);
                    }
                }
                Wish::Copy => {
                    if let (Some(guard), Some(text)) = (&self.guard, self.display.selected(tracker)) {
                        guard.copy(&text)?;
                    }
                }
                Wish::Interval { is_shorter } => self.change_interval(is_shorter),
                wish => self.wish = wish,
            }
        }
        self.agree();
        Ok(Flow::Go)
    }

    /// Taking the hooks off can take seconds: nobody should wait for the terminal.
    fn ending(&mut self) {
        self.guard = None;
    }
}
