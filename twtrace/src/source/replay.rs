//! Owns: a recording as a source for the live view: its events at the speed that is asked for, with a way back and forth.
//! Must not know: how a view shows them, the command line, the kernel.

mod cursor;
mod driver;
mod feed;
mod hidden;
mod remote;

#[cfg(test)]
mod tests;

pub use driver::{Driver, Pace, Turn, run};
pub use feed::OpenReplay;
pub use remote::{Command, Remote, Replaying, Speed};

use crate::recording::OpenError;

/// Why a replay came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recording cannot be read, or cannot be read again.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The view could not write.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}
