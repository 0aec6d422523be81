//! Owns: what a recording comes to: counted column by column, as a model that text, JSON, the page and `diff` show.
//! Must not know: how recordings are made, the kernel, the command line.

mod build;
mod chain;
mod columns;
mod count;
mod hosts;
pub mod html;
pub mod json;
pub mod model;
mod namings;
mod read;
mod stages;
mod strips;
pub mod text;
mod timeline;
pub mod view;

pub use chain::Part;
pub use hosts::{Group, by_host, read_hosts};
pub use model::{By, Report};
pub use read::{Options, facts, read};

use std::path::Path;

use self::timeline::MOST_ASKED;
use crate::model::escape;
use crate::recording::OpenError;

/// Rows that a table has at most; those of the least figures are one row of others together, so that sums stay exact.
const MOST_ROWS: usize = 16_384;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The timeline would have too many stretches.
    #[error("--every {every_s} s makes more than {MOST_ASKED} lines of this recording: give a longer time")]
    TooFine {
        /// What was asked for, in seconds.
        every_s: f64,
    },
    /// No second thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// There is no recording to read.
    #[error("no recording")]
    Nothing,
    /// One that was there is gone.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Two that were made at the same time on one machine have the same sockets.
    #[error(
        "{one} and {other} were recorded at the same time on one machine: their sockets would be counted twice; \
         give one of them"
    )]
    Overlap {
        /// The name of one, escaped.
        one: String,
        /// The name of the other, escaped.
        other: String,
    },
}

impl Error {
    fn overlap(one: &Path, other: &Path) -> Self {
        let [one, other] = [one, other].map(escape::path);
        Self::Overlap { one, other }
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
pub(crate) mod tests;
