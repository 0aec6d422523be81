//! Owns: the live view as a full screen. Only what is in here knows ratatui and crossterm.
//! Must not know: how it is traced, the command line.

mod draw;
mod journal;
mod state;
mod terminal;
mod value;
mod views;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};

use self::draw::{Ink, Paper};
use self::journal::Journal;
use self::state::{Drawn, Mode, State, Wish};
use self::terminal::Guard;
use self::views::Picture;
use crate::clock::Clock;
use crate::event::{Event, Kind};
use crate::live::{Frame, Upkeep};
use crate::session::{Flow, View};
use crate::tracker::{By, Detail, RowKey, Tracker};

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
    ink: Ink,
    upkeep: Upkeep,
    backend: &'static str,
    journal: Journal,
    state: State,
    picture: Option<Picture>,
    detail: Option<(RowKey, Option<Detail>)>,
    drawn: Drawn,
    wish: Wish,
}

impl Screen {
    /// A screen that shows a new picture of the world every `interval`, 250 ms at the least. Keys are answered at once.
    ///
    /// # Errors
    /// If the thread that asks the kernel cannot be started.
    pub fn new(interval: Duration) -> std::io::Result<Self> {
        Ok(Self {
            interval_ns: u64::try_from(interval.max(SHORTEST).as_nanos()).unwrap_or(u64::MAX),
            next_ns: 0,
            guard: None,
            ink: Ink::from_environment(),
            upkeep: Upkeep::start()?,
            backend: "",
            journal: Journal::default(),
            state: State::default(),
            picture: None,
            detail: None,
            drawn: Drawn::default(),
            wish: Wish::Draw,
        })
    }

    /// The next thing that was typed or clicked and that asks for something. Never waits.
    fn listen(&mut self) -> std::io::Result<Wish> {
        while event::poll(Duration::ZERO)? {
            let wish = match event::read()? {
                Input::Key(key) if key.kind != KeyEventKind::Release => self.state.press(key, &self.drawn),
                Input::Mouse(mouse) => self.state.click(mouse, &self.drawn),
                Input::Resize(..) => Wish::Draw,
                _ => Wish::Nothing,
            };
            if wish != Wish::Nothing {
                return Ok(wish);
            }
        }
        Ok(Wish::Nothing)
    }

    fn look(&mut self, world: &Tracker, now_ns: u64) {
        self.next_ns = now_ns.saturating_add(self.interval_ns);
        // All tables: the picture may stand still while the user looks at each of them.
        let snapshot = world.snapshot(By::ALL);
        let (slab_bytes, clock) = (self.upkeep.slab_bytes(), Clock::read());
        let frame = Frame { snapshot, backend: self.backend, slab_bytes, clock };
        let zone = jiff::tz::TimeZone::system();
        self.picture = Some(Picture { frame, journal: self.journal.clone(), zone });
        self.detail = None;
        if self.wish == Wish::Nothing {
            self.wish = Wish::Draw;
        }
    }

    /// Draws what is wished for.
    fn show(&mut self, world: &Tracker) -> std::io::Result<()> {
        let (Some(guard), Some(picture)) = (&mut self.guard, &self.picture) else { return Ok(()) };
        match self.wish {
            Wish::Nothing | Wish::Quit => return Ok(()),
            Wish::Draw => {}
            Wish::Repaint => guard.terminal.clear()?,
        }
        self.wish = Wish::Nothing;
        if let Mode::Details(key, _) = &self.state.mode
            && self.detail.as_ref().is_none_or(|(known, _)| known != key)
        {
            self.detail = Some((key.clone(), world.detail(key)));
        }
        let detail = self.detail.as_ref().and_then(|(_, detail)| detail.as_ref());
        let paper = Paper { state: &self.state, picture, detail, ink: self.ink };
        guard.terminal.draw(|frame| self.drawn = paper.draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }
}

impl View for Screen {
    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
    }

    fn begin(&mut self, _clock: Clock) -> std::io::Result<()> {
        self.guard = Some(Guard::take()?);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> std::io::Result<Flow> {
        self.journal.note(event);
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
        if now_ns >= self.next_ns && !self.state.is_paused {
            self.look(world, now_ns);
        }
        for _ in 0..INPUTS {
            self.show(world)?;
            match self.listen()? {
                Wish::Nothing => break,
                Wish::Quit => {
                    // Taking the hooks off can take seconds: nobody should wait for the terminal.
                    self.guard = None;
                    return Ok(Flow::Stop);
                }
                wish => self.wish = wish,
            }
        }
        Ok(Flow::Go)
    }
}
