//! Owns: what a source of events calls, and when.
//! Must not know: any particular source or view.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::engine::{Spread, Tracker};
use crate::host::sandbox::Needs;
use crate::model::clock::Clock;
use crate::model::event::Event;
use crate::model::limitation::Limitation;
use crate::output::Writer;

/// Whether a view has had enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More, please.
    Go,
    /// The view is done.
    Stop,
}

/// How a trace fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Memory between the kernel and here, in bytes.
    pub ring_bytes: u64,
    /// The most of it that was found in use within the last second or so, in bytes.
    pub ring_used_bytes: u64,
}

/// Somebody who looks at events as they come.
pub trait View {
    /// Called once, when tracing has begun.
    ///
    /// # Errors
    /// Of writing.
    fn begin(&mut self, clock: Clock) -> std::io::Result<()>;

    /// Called once before [`View::begin`], with the word for what tells the events.
    fn attached(&mut self, _backend: &'static str) {}

    /// Called before [`View::begin`] with all that cannot be seen, and again whenever there is more of it.
    fn limited(&mut self, _limitations: &[Limitation]) {}

    /// Called once before [`View::begin`] and before the first event: with the tracker, which can be told here what need not be counted.
    fn listed(&mut self, _tracker: &mut Tracker) {}

    /// Called once before [`View::begin`]: a look at the view can be asked for with this at any time, from any thread.
    fn wake_with(&mut self, _waker: Arc<Notify>) {}

    /// Called once after [`View::begin`], before power is given up: what the view still has to do that takes any.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// When the view wants to be looked at, CLOCK_MONOTONIC, though nothing may have happened. It is at least once a second.
    fn due_ns(&self) -> Option<u64> {
        None
    }

    /// What the view writes to and is there for. Its end is waited for, its failure ends the trace, and what it does not take is lost of the trace
    /// (`unwritten`). A recording beside something else is none: it goes on without, and tells by itself what it lacks.
    fn output(&self) -> Option<&Writer> {
        None
    }

    /// The same, where each event is written to it.
    fn event_output(&self) -> Option<&Writer> {
        None
    }

    /// The source of events begins anew: what was told is not to be remembered.
    fn restarted(&mut self) {}

    /// One event, complete and past the filter.
    ///
    /// # Errors
    /// Of writing.
    fn event(&mut self, event: &Event) -> std::io::Result<Flow>;

    /// After each batch of events.
    ///
    /// # Errors
    /// Of writing.
    fn batch(&mut self, _tracker: &Tracker) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    /// After each batch, at least once a second, and when the view is due: for views that show the state as it is, and for what
    /// the tracker cannot know by itself. `now_ns` is CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// Of writing.
    fn tick(&mut self, _tracker: &mut Tracker, _now_ns: u64) -> std::io::Result<Flow> {
        Ok(Flow::Go)
    }

    /// Called about once a second.
    fn health(&mut self, _health: Health) {}

    /// Called once before [`View::ended`]: how long connect() looked for a port, in microseconds, by inode of the network namespace; nothing
    /// where that was not measured.
    fn timed(&mut self, _times: Vec<(u32, Spread)>) {}

    /// Called once when all is told and nothing will come any more.
    fn ended(&mut self, _tracker: &Tracker) {}

    /// A signal asks for an end: its number. A view may go on, and end when it sees fit.
    fn signalled(&mut self, _signal: i32) -> Flow {
        Flow::Stop
    }

    /// Called once, when the end is certain and the hooks are still attached.
    fn ending(&mut self) {}
}
