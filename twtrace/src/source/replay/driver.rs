//! Owns: how fast a recording is told, and what each command changes in that.
//! Must not know: what is shown, which key a command is on.

use std::io;
use std::time::{Duration, Instant};

use super::Error;
use super::cursor::Cursor;
use super::feed::OpenReplay;
use super::remote::{Command, Remote, Replaying, Speed};
use crate::model::clock;
use crate::model::filter::Filter;
use crate::recording::OpenError;
use crate::source::session::signals::Signals;
use crate::source::{Flow, View};

/// How often the view is asked what the user wants.
const TICK: Duration = Duration::from_millis(25);
/// Events that are told before the view is asked: some hundredths of a second's work.
const BUDGET: usize = 16_384;

/// Events that are gone through for one that the filter lets pass, at a step: some tenths of a second's work.
const STEP: usize = 16 * BUDGET;

/// Pictures of a time in which nothing happens, as fast as can be: the rates of all windows have come to nothing by then, so the
/// next ones would be the same, and a clock that is wrong could ask for millions of them.
const QUIET: u64 = 120;

/// Words for what tells events; another version may have others.
const BACKENDS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];

/// When a view looks at the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In its own time, that of the user.
    Own,
    /// Every so many nanoseconds of recorded time, exactly; it is done when the recording is.
    Recorded(u64),
}

/// A replay.
pub struct Driver {
    cursor: Cursor,
    remote: Remote,
    pace: Pace,
    speed: Speed,
    /// Recorded nanoseconds that should have passed.
    owed_ns: f64,
    /// Where it goes as fast as it can, paused or not.
    goal_ns: Option<u64>,
    /// When the next picture is due, in recorded time.
    picture_ns: u64,
    /// Pictures since the last event.
    quiet: u64,
    /// Pictures that were left out, and the longest time without any, in nanoseconds, with when that began.
    left_out: u64,
    longest_ns: (u64, u64),
    /// So much of what could not be seen was the view told.
    limited: usize,
}

/// Whether there is more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The view is done, or the recording is.
    Done,
    /// There is.
    Busy,
    /// There is not.
    Idle,
}

impl Driver {
    /// A replay of what `open` opens. `remote` is shared with the view, if that has one.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn new(
        open: OpenReplay,
        filter: Filter,
        pace: Pace,
        speed: Speed,
        remote: Remote,
    ) -> Result<Self, Error> {
        let cursor = Cursor::new(open, filter)?;
        let picture_ns = match pace {
            Pace::Own => u64::MAX,
            Pace::Recorded(every_ns) => cursor.now_ns.saturating_add(every_ns),
        };
        Ok(Self {
            cursor,
            remote,
            pace,
            speed,
            owed_ns: 0.0,
            goal_ns: None,
            picture_ns,
            quiet: 0,
            left_out: 0,
            longest_ns: (0, 0),
            limited: 0,
        })
    }

    /// Makes the view ready.
    ///
    /// # Errors
    /// Of writing.
    pub fn begin(&mut self, view: &mut dyn View) -> io::Result<()> {
        let backend = BACKENDS.iter().find(|word| **word == self.cursor.backend()).copied();
        view.attached(backend.unwrap_or("unknown"));
        self.limit(view);
        view.listed(&mut self.cursor.tracker);
        view.begin(self.cursor.clock())
    }

    /// Tells what could not be seen, and again once there is more of it: at the end.
    fn limit(&mut self, view: &mut dyn View) {
        let all = self.cursor.limitations();
        if all.len() > self.limited {
            self.limited = all.len();
            view.limited(&all);
        }
    }

    /// What ties recorded times to the calendar.
    pub fn clock(&self) -> clock::Clock {
        self.cursor.clock()
    }

    /// In words for a user: what is not there of the recording, once that is known.
    pub fn trouble(&self) -> Option<String> {
        self.cursor.trouble()
    }

    /// Events that passed the filter; `None` until all were told.
    pub fn passed(&self) -> Option<u64> {
        self.is_over().then_some(self.cursor.passed)
    }

    /// In words for a user: pictures that were left out because nothing happened.
    pub fn left_out(&self) -> Option<String> {
        let (longest_ns, from_ns) = self.longest_ns;
        (self.left_out != 0).then(|| {
            format!(
                "pictures of times in which nothing happened are left out: {}, the longest of {} from mono_ns {from_ns} on",
                self.left_out,
                crate::model::figures::lasted(longest_ns as f64 / 1e9)
            )
        })
    }

    /// Does what is due after `passed` of real time; `now_ns` is CLOCK_MONOTONIC here and now.
    ///
    /// # Errors
    /// Of writing, or of opening the recording again.
    pub fn turn(&mut self, passed: Duration, now_ns: u64, view: &mut dyn View) -> Result<Turn, Error> {
        let wants_picture = self.obey(view)?;
        let was_seeking = self.goal_ns.is_some();
        self.owed_ns = match self.speed {
            _ if self.remote.is_paused() => 0.0,
            Speed::Times(times) => self.owed_ns + passed.as_nanos() as f64 * times,
            Speed::Max => f64::INFINITY,
        };
        let (mut left, mut flow) = (BUDGET, Flow::Go);
        while left != 0
            && flow == Flow::Go
            && (self.owed_ns >= 1.0 || self.goal_ns.is_some())
            && !self.is_over()
        {
            let told = self.advance(left, view)?;
            left -= told;
            self.quiet = if told == 0 { self.quiet } else { 0 };
            if self.cursor.now_ns >= self.picture_ns {
                flow = self.picture(self.picture_ns, view)?;
                self.skip();
                // Its reader may be slow, and a quiet recording has pictures without end.
                left = 0;
            }
        }
        let is_over = self.is_over();
        if is_over {
            self.goal_ns = None;
        }
        let arrived = was_seeking && self.goal_ns.is_none();
        let replaying = Replaying { speed: self.speed, is_over, is_seeking: self.goal_ns.is_some() };
        self.remote.say(replaying, wants_picture || arrived);
        let more = if left == 0 { Turn::Busy } else { Turn::Idle };
        if let Pace::Recorded(every_ns) = self.pace {
            if flow == Flow::Go
                && is_over
                && left != 0
                && self.cursor.now_ns.saturating_add(every_ns) != self.picture_ns
            {
                // What was not worth a whole picture's time.
                self.picture(self.picture_ns, view)?;
            }
            return Ok(if is_over && left != 0 || flow == Flow::Stop { Turn::Done } else { more });
        }
        view.batch(&self.cursor.tracker)?;
        let flow = view.tick(&mut self.cursor.tracker, now_ns)?;
        Ok(if flow == Flow::Stop { Turn::Done } else { more })
    }

    fn is_over(&self) -> bool {
        self.cursor.end_ns().is_some_and(|end_ns| self.cursor.now_ns >= end_ns)
    }

    /// Tells what is owed, up to the next picture or the goal; returns how many events that were.
    fn advance(&mut self, most: usize, view: &mut dyn View) -> Result<usize, Error> {
        let from_ns = self.cursor.now_ns;
        let owed_ns = if self.owed_ns.is_finite() { self.owed_ns as u64 } else { u64::MAX };
        let until_ns = match self.goal_ns {
            Some(goal_ns) => goal_ns,
            None => from_ns.saturating_add(owed_ns),
        };
        let told = self.cursor.run(until_ns.min(self.picture_ns), most, view)?;
        if self.cursor.end_ns().is_some() {
            self.limit(view);
        }
        if self.goal_ns.is_some_and(|goal_ns| self.cursor.now_ns >= goal_ns) {
            // Time goes on from there.
            (self.goal_ns, self.owed_ns) = (None, 0.0);
        } else {
            self.owed_ns = (self.owed_ns - (self.cursor.now_ns - from_ns) as f64).max(0.0);
        }
        Ok(told)
    }

    /// Leaves out pictures that would all be the same, up to the one before something happens.
    fn skip(&mut self) {
        self.quiet += 1;
        let Pace::Recorded(every_ns) = self.pace else { return };
        if self.quiet < QUIET || self.speed != Speed::Max || every_ns == 0 {
            return;
        }
        let Some(next_ns) = self.cursor.next_ns().or_else(|| self.cursor.end_ns()) else { return };
        let same = next_ns.saturating_sub(self.picture_ns) / every_ns;
        if same != 0 {
            self.left_out = self.left_out.saturating_add(same);
            self.longest_ns = self.longest_ns.max((same.saturating_mul(every_ns), self.picture_ns));
            self.picture_ns = self.picture_ns.saturating_add(same.saturating_mul(every_ns));
        }
    }

    fn picture(&mut self, at_ns: u64, view: &mut dyn View) -> Result<Flow, Error> {
        if let Pace::Recorded(every_ns) = self.pace {
            self.picture_ns = self.picture_ns.saturating_add(every_ns);
        }
        view.batch(&self.cursor.tracker)?;
        Ok(view.tick(&mut self.cursor.tracker, at_ns)?)
    }

    /// Does what the user wants; says whether there is something new to see.
    fn obey(&mut self, view: &mut dyn View) -> Result<bool, Error> {
        let mut is_new = false;
        while let Some(command) = self.remote.command() {
            is_new = true;
            match command {
                Command::Faster => self.speed = self.speed.faster(),
                Command::Slower => self.speed = self.speed.slower(),
                Command::Start => self.go(0, view)?,
                Command::Seek(by_ns) => {
                    let from_ns = self.goal_ns.unwrap_or(self.cursor.now_ns);
                    self.go(from_ns.saturating_add_signed(by_ns), view)?;
                }
                Command::Step => {
                    self.cursor.step_on(STEP, view)?;
                    self.limit(view);
                }
            }
        }
        Ok(is_new)
    }

    /// On to a time, or back to the beginning and on from there.
    fn go(&mut self, to_ns: u64, view: &mut dyn View) -> Result<(), Error> {
        if to_ns < self.cursor.now_ns {
            match self.cursor.rewind(view) {
                // A pipe can be read once only: there is no way back.
                Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotSeekable => {
                    return Ok(());
                }
                done => done?,
            }
        }
        self.goal_ns = Some(to_ns.max(self.cursor.now_ns));
        Ok(())
    }
}

/// Replays until the view has had enough, the recording is over and nobody can go back in it, or a signal says so.
///
/// # Errors
/// See [`Error`].
pub async fn run(driver: &mut Driver, view: &mut dyn View) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    driver.begin(view)?;
    let mut last = Instant::now();
    loop {
        let passed = last.elapsed();
        last += passed;
        let pause = match driver.turn(passed, clock::mono_ns(), view)? {
            Turn::Done => {
                tokio::select! {
                    _ = signals.any() => {}
                    () = written(view) => {}
                }
                break;
            }
            Turn::Busy => Duration::ZERO,
            Turn::Idle => TICK,
        };
        // Unlike events, a recording waits for its reader.
        tokio::select! {
            biased;
            _ = signals.any() => break,
            () = written(view) => {}
        }
        tokio::select! {
            biased;
            _ = signals.any() => break,
            () = rest(pause) => {}
        }
    }
    view.ending();
    let Some(output) = view.output() else { return Ok(()) };
    output.finish(Instant::now());
    output.error().map_or(Ok(()), |error| Err(error.into()))
}

/// A sleep of nothing would be over before anybody looked for signals.
async fn rest(pause: Duration) {
    if pause.is_zero() { tokio::task::yield_now().await } else { tokio::time::sleep(pause).await }
}

/// Until the view's reader has all that there is.
async fn written(view: &dyn View) {
    if let Some(output) = view.output() {
        output.emptied().await;
    }
}
