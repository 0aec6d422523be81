//! Owns: what passes between a view and who feeds it from a recording: the user's commands one way, how it goes the other way.
//! Must not know: either of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use crate::model::escape::printable;

/// How fast recorded time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many recorded seconds a second.
    Times(f64),
    /// As fast as it can be shown.
    Max,
}

/// The speeds that `+` and `-` go through; after the last comes [`Speed::Max`].
const STEPS: [f64; 11] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0];

impl Speed {
    /// The next one up.
    #[must_use]
    pub fn faster(self) -> Self {
        let Self::Times(now) = self else { return Self::Max };
        STEPS.into_iter().find(|step| *step > now).map_or(Self::Max, Self::Times)
    }

    /// The next one down.
    #[must_use]
    pub fn slower(self) -> Self {
        let now = if let Self::Times(now) = self { now } else { f64::INFINITY };
        Self::Times(STEPS.into_iter().rev().find(|step| *step < now).unwrap_or(STEPS[0].min(now)))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}x"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    /// `1x`, `0.5x`, `10`, `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
        let sensible = number.filter(|times| *times >= 0.001 && *times <= 1e6);
        sensible
            .map(Self::Times)
            .ok_or_else(|| format!("'{}' is no speed such as 1x, 0.5x, 10x or max", printable(text)))
    }
}

/// What a user wants of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The next event, and then stand still.
    Step,
    /// So many nanoseconds of recorded time on, or back.
    Seek(i64),
    /// To the beginning.
    Start,
    /// See [`Speed::faster`].
    Faster,
    /// See [`Speed::slower`].
    Slower,
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replaying {
    /// How fast.
    pub speed: Speed,
    /// The recording is at its end.
    pub is_over: bool,
    /// It goes to another place as fast as it can.
    pub is_seeking: bool,
}

#[derive(Debug)]
struct Shared {
    commands: VecDeque<Command>,
    is_paused: bool,
    wants_picture: bool,
    replaying: Replaying,
}

/// Both ends hold one of these.
#[derive(Clone, Debug)]
pub struct Remote(Rc<RefCell<Shared>>);

impl Remote {
    /// A replay that begins at this speed.
    pub fn new(speed: Speed) -> Self {
        let replaying = Replaying { speed, is_over: false, is_seeking: false };
        let commands = VecDeque::new();
        Self(Rc::new(RefCell::new(Shared { commands, is_paused: false, wants_picture: false, replaying })))
    }

    /// From the view: the user wants something.
    pub fn press(&self, command: Command) {
        self.0.borrow_mut().commands.push_back(command);
    }

    /// From the view: whether recorded time stands still.
    pub fn pause(&self, is_paused: bool) {
        self.0.borrow_mut().is_paused = is_paused;
    }

    /// For the view: how it goes.
    pub fn replaying(&self) -> Replaying {
        self.0.borrow().replaying
    }

    /// For the view: whether a picture is due though the view is paused.
    pub fn takes_picture(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().wants_picture)
    }

    pub(super) fn command(&self) -> Option<Command> {
        self.0.borrow_mut().commands.pop_front()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.0.borrow().is_paused
    }

    pub(super) fn say(&self, replaying: Replaying, wants_picture: bool) {
        let mut shared = self.0.borrow_mut();
        shared.replaying = replaying;
        shared.wants_picture |= wants_picture;
    }
}
