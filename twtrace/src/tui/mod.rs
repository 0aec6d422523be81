//! Owns: the live view as a full screen. Only what is in here knows ratatui and crossterm.
//! Must not know: how it is traced, the command line.

mod draw;
mod face;
mod journal;
mod offscreen;
mod state;
mod terminal;
mod value;
mod views;

#[cfg(test)]
mod tests;

pub use draw::Theme;
pub use offscreen::Offscreen;

use std::time::Duration;

use ratatui::crossterm::event;

use self::draw::Ink;
use self::face::{About, Face};
use self::state::Wish;
use self::terminal::Guard;
use crate::clock::Clock;
use crate::event::{Event, Kind, Reason};
use crate::live::Upkeep;
use crate::session::{Flow, View};
use crate::tracker::Tracker;

/// Nobody reads faster.
const SHORTEST: Duration = Duration::from_millis(250);
/// Keys that are answered before events are looked at again.
const INPUTS: usize = 64;

/// The screen as a view of a session. The terminal is taken when tracing begins, and given back when this is dropped.
#[derive(Debug)]
pub struct Screen {
    interval_ns: u64,
    /// When the next picture is due, CLOCK_MONOTONIC.
    next_ns: u64,
    guard: Option<Guard>,
    upkeep: Upkeep,
    backend: &'static str,
    face: Face,
    wish: Wish,
    reasons: Vec<Reason>,
}

impl Screen {
    /// A screen that shows a new picture of the world every `interval`, 250 ms at the least. Keys are answered at once. Without
    /// a `theme`, the environment says which colours there are. Of ends, only those for `reasons` are of interest; none: all are.
    ///
    /// # Errors
    /// If the thread that asks the kernel cannot be started.
    pub fn new(interval: Duration, theme: Option<Theme>, reasons: Vec<Reason>) -> std::io::Result<Self> {
        Ok(Self {
            interval_ns: u64::try_from(interval.max(SHORTEST).as_nanos()).unwrap_or(u64::MAX),
            next_ns: 0,
            guard: None,
            upkeep: Upkeep::start()?,
            backend: "",
            face: Face::new(Ink::from_environment(theme)),
            wish: Wish::Draw,
            reasons,
        })
    }

    /// The next thing that was typed or clicked and that asks for something. Never waits.
    fn listen(&mut self) -> std::io::Result<Wish> {
        while event::poll(Duration::ZERO)? {
            let wish = self.face.hear(&event::read()?);
            if wish != Wish::Nothing {
                return Ok(wish);
            }
        }
        Ok(Wish::Nothing)
    }

    fn look(&mut self, world: &Tracker, now_ns: u64) {
        self.next_ns = now_ns.saturating_add(self.interval_ns);
        let zone = jiff::tz::TimeZone::system();
        let (slab_bytes, clock) = (self.upkeep.slab_bytes(), Clock::read());
        self.face.look(world, About { backend: self.backend, slab_bytes, clock, zone });
        if self.wish == Wish::Nothing {
            self.wish = Wish::Draw;
        }
    }

    /// Draws what is wished for.
    fn show(&mut self, world: &Tracker) -> std::io::Result<()> {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        match self.wish {
            Wish::Nothing | Wish::Quit => return Ok(()),
            Wish::Draw => {}
            Wish::Repaint => guard.terminal.clear()?,
        }
        self.wish = Wish::Nothing;
        guard.terminal.draw(|frame| self.face.draw(world, frame.area(), frame.buffer_mut()))?;
        Ok(())
    }
}

impl View for Screen {
    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
    }

    fn listed(&mut self, world: &mut Tracker) {
        world.count_only(&self.reasons);
    }

    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        self.guard = Some(Guard::take()?);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> std::io::Result<Flow> {
        self.face.journal.note(event);
        if event.kind == Kind::Lost {
            // What the session says of that on stderr lands on the screen.
            self.wish = Wish::Repaint;
        }
        Ok(Flow::Go)
    }

    fn batch(&mut self, _world: &Tracker) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    fn tick(&mut self, world: &mut Tracker, now_ns: u64) -> std::io::Result<Flow> {
        self.upkeep.run(world, now_ns);
        if now_ns >= self.next_ns && !self.face.state.is_paused {
            self.look(world, now_ns);
        }
        for _ in 0..INPUTS {
            if self.face.is_stale() {
                self.look(world, now_ns);
            }
            self.show(world)?;
            match self.listen()? {
                Wish::Nothing => break,
                Wish::Quit => return Ok(Flow::Stop),
                wish => self.wish = wish,
            }
        }
        Ok(Flow::Go)
    }

    /// Taking the hooks off can take seconds: nobody should wait for the terminal.
    fn ending(&mut self) {
        self.guard = None;
    }
}
