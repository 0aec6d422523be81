//! Owns: a thread that asks the kernel about network namespaces: what lives in them, what their books say.
//! Must not know: the tracker, when to ask.

use std::io;

use super::listing::{self, Listing};
use crate::clock;
use crate::net;
use crate::net::books::{Books, snapshot_all};
use crate::net::netns::discover;
use crate::worker::{Replies, Requests, Worker};

/// What it is asked. `only` names namespaces; all that can be reached where it is empty.
#[derive(Debug)]
pub(super) enum Request {
    /// Which TIME_WAIT sockets live.
    List {
        /// Where.
        only: Vec<u32>,
    },
    /// What the kernel has counted.
    Books {
        /// Where.
        only: Vec<u32>,
    },
}

/// What it found.
#[derive(Debug)]
pub(super) enum Reply {
    /// What lives.
    Listed {
        /// CLOCK_MONOTONIC before the kernel was asked.
        began_ns: u64,
        /// CLOCK_MONOTONIC after that.
        ended_ns: u64,
        /// What it said.
        listing: Listing,
    },
    /// The books.
    Books {
        /// Those of each namespace that could be read.
        books: Result<Vec<(u32, Books)>, net::Error>,
    },
}

/// The thread, from the engine's side.
pub(super) type Lister = Worker<Request, Reply>;

/// Starts it.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start() -> io::Result<Lister> {
    Worker::start("lister", answer_all)
}

fn answer_all(requests: &Requests<Request>, replies: &Replies<Reply>) {
    while let Some(request) = requests.next() {
        let reply = match request {
            Request::List { only } => {
                let began_ns = clock::mono_ns();
                let listing = listing::list(&only, began_ns);
                Reply::Listed { began_ns, ended_ns: clock::mono_ns(), listing }
            }
            Request::Books { only } => Reply::Books { books: books(&only) },
        };
        if !replies.send(reply) {
            return;
        }
    }
}

/// The books of every namespace of interest that can be reached.
fn books(only: &[u32]) -> Result<Vec<(u32, Books)>, net::Error> {
    let mut namespaces = discover();
    namespaces.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    let readings = snapshot_all(&namespaces)?;
    Ok(readings.into_iter().filter_map(|(netns, books)| Some((netns, books.ok()?))).collect())
}
