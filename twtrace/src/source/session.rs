//! Owns: a live trace from attach to summary: probe, tracker, identities, listings, signals.
//! Must not know: what a view does with the events, the command line.

mod alarm;
mod drain;
mod end;
mod engine;
mod healing;
mod lister;
mod run;
mod scope;
pub mod signals;
mod start;
mod summary;
mod surroundings;
pub mod verify;

use std::path::PathBuf;
use std::time::Duration;

pub use run::{Error, run};
pub use summary::Summary;
pub use surroundings::permit;

use crate::kernel::probe;
use crate::model::filter::Filter;

/// What to trace and for how long.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How to set up the kernel side. Its filter is derived from `filter`.
    pub probe: probe::Options,
    /// What the view is shown.
    pub filter: Filter,
    /// Compare with the kernel's books at the end.
    pub verify: bool,
    /// Created once everything is attached and the sockets that were there before are known.
    pub ready_file: Option<PathBuf>,
    /// Say on stderr which backend is used, and which were not to be had.
    pub verbose: bool,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// Give up what is no longer needed once all is attached. For good: nothing can be attached after the trace.
    pub sandbox: bool,
    /// Container runtimes are asked for names, at these sockets before the usual ones; `None`: they are not.
    pub runtimes: Option<Vec<PathBuf>>,
    /// The view shows command lines of processes: see [`IdentityCache::new`](crate::host::identity::IdentityCache::new).
    pub command_lines: bool,
}

impl Options {
    /// When all is over, if it begins now.
    fn over(&self) -> Option<tokio::time::Instant> {
        tokio::time::Instant::now().checked_add(self.duration?)
    }
}
