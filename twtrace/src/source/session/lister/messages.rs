//! Owns: what the lister is asked, and what it answers.
//! Must not know: how the answers are found.

use std::collections::HashSet;

use super::same::Changed;
use crate::engine::Seed;
use crate::host::net;
use crate::host::net::books::Books;
use crate::model::event::Conn;
use crate::model::limitation::Limitation;

/// A socket to be asked after, by cookie where that is known.
pub(in crate::source::session) type SocketQuery = (Conn, Option<u64>);

/// What it is asked. `only` names namespaces; all that can be reached where it is empty.
#[derive(Debug)]
pub(in crate::source::session) enum Request {
    /// Which TIME_WAIT sockets live.
    List {
        /// Where.
        only: Vec<u32>,
    },
    /// Whether these TIME_WAIT sockets are still there.
    LookUp {
        /// Which.
        sockets: Vec<SocketQuery>,
    },
    /// Nothing: from now on the kernel side tells namespaces that are asked for from later ones with their inodes.
    AreToldApart,
    /// What the kernel has counted in these namespaces and no others.
    Check {
        /// Where.
        netns: Vec<u32>,
    },
    /// What the kernel has counted.
    Books {
        /// Where.
        only: Vec<u32>,
    },
}

/// CLOCK_MONOTONIC in nanoseconds before the kernel was asked, and after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source::session) struct Span {
    pub(in crate::source::session) began_ns: u64,
    pub(in crate::source::session) ended_ns: u64,
}

/// What became of a socket that was asked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::session) enum SocketFate {
    /// It is there.
    There(Seed),
    /// It is not.
    Gone,
    /// Its namespace cannot be asked.
    Unknown,
}

/// A namespace's books: which one's, CLOCK_MONOTONIC in nanoseconds just before they were read, what they say.
pub(in crate::source::session) type Read = (u32, u64, Books);

/// What it found.
#[derive(Debug)]
pub(in crate::source::session) enum Reply {
    /// Some namespaces are not there any more, or another one has their inode.
    Changed {
        /// When that was found out.
        span: Span,
        /// Which.
        changed: Vec<Changed>,
    },
    /// The books of all namespaces that can be reached, before the first listing.
    Opened {
        /// When that was.
        span: Span,
        /// Those that could be read.
        books: Vec<Read>,
    },
    /// All that lives in some namespaces.
    Namespaces {
        /// Which.
        netns: Vec<u32>,
        /// When that was.
        span: Span,
        /// What lives.
        seeds: Vec<Seed>,
    },
    /// A listing is complete.
    Listed {
        /// When it began and ended.
        span: Span,
        /// Processor time that it took, in nanoseconds.
        cost_ns: u64,
        /// Every namespace that can be reached.
        reached: HashSet<u32>,
        /// Some could not be asked, for a reason that may pass.
        is_incomplete: bool,
        /// What could not be listed.
        limitations: Vec<Limitation>,
    },
    /// The sockets that were asked after.
    LookedUp {
        /// When that was.
        span: Span,
        /// Each with what became of it.
        found: Vec<(SocketQuery, SocketFate)>,
    },
    /// What was to be checked.
    Checked {
        /// When that was.
        span: Span,
        /// Those that could be read.
        books: Vec<Read>,
    },
    /// The books.
    Books {
        /// Those of each namespace that could be read.
        books: Result<Vec<(u32, Books)>, net::Error>,
    },
}

impl Reply {
    /// When the kernel had said all of it, CLOCK_MONOTONIC in nanoseconds; 0 where that does not matter.
    pub(in crate::source::session) fn ended_ns(&self) -> u64 {
        match self {
            Self::Changed { span, .. }
            | Self::Opened { span, .. }
            | Self::Namespaces { span, .. }
            | Self::Listed { span, .. }
            | Self::LookedUp { span, .. }
            | Self::Checked { span, .. } => span.ended_ns,
            Self::Books { .. } => 0,
        }
    }
}
