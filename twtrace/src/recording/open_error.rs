//! Owns: why a file cannot be read as a recording at all, in words for a user.
//! Must not know: how that is found out.

use std::io;

use super::meta::FORMAT;

/// Why a file cannot be read as a recording at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file, or it may not be read.
    #[error("cannot open {path}: {error}")]
    Io {
        /// Its path, escaped.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is a folder.
    #[error("{0} is a folder: name one recording (*.twt) in it")]
    Folder(
        /// Its path, escaped.
        String,
    ),
    /// It is something else, or was cut off in its head.
    #[error("{path} is no recording of twtrace: {why}")]
    Foreign {
        /// Its path, escaped.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// It was made by a twtrace from the future.
    #[error("{path} has version {format} of the format, this twtrace reads up to {FORMAT}: use a newer one")]
    TooNew {
        /// Its path, escaped.
        path: String,
        /// Its version.
        format: u32,
    },
}
