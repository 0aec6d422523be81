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

pub use run::run;
pub use summary::Summary;
pub use surroundings::permit;

use crate::host::worker::Died;
use crate::kernel::decode;
use crate::kernel::probe::{self, Cannot};
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

/// Why a trace came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot.
    #[error(transparent)]
    Cannot(#[from] Cannot),
    /// The kernel side and this side do not speak the same language.
    #[error("the kernel side sent something that is no event: {0}")]
    Decode(#[from] decode::DecodeError),
    /// The view could not write; a broken pipe is not an error.
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
    /// The ready file could not be made.
    #[error("cannot create the ready file {path}: {error}")]
    Ready {
        /// Its path, escaped.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Signals, timers or threads.
    #[error("cannot wait for events: {0}")]
    Wait(std::io::Error),
    /// The kernel's books.
    #[error("cannot read the kernel's books: {0}")]
    Books(#[from] crate::host::net::Error),
    /// A part of the trace is no more.
    #[error(transparent)]
    Died(#[from] Died),
}

impl Error {
    /// What a view failed of: writing, or a thread of its own that is no more.
    fn of_view(error: std::io::Error) -> Self {
        error.downcast::<Died>().map_or_else(Self::Output, Self::Died)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_whose_thread_died_did_not_fail_of_writing() {
        let died = Died { name: "http", why: "no such socket".to_owned() };
        let error = Error::of_view(died.into());
        assert_eq!(error.to_string(), "the thread 'http' ended too early: no such socket");
        let error = Error::of_view(std::io::ErrorKind::StorageFull.into());
        assert!(error.to_string().starts_with("cannot write the output: "), "{error}");
    }
}
