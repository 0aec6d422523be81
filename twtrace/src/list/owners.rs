//! Owns: what traces and recordings know of the sockets that a listing shows.
//! Must not know: how sockets are listed, where recordings come from.

use std::collections::HashMap;

use super::Note;
use crate::clock;
use crate::event::Conn;
use crate::net::sockdiag::DiagSocket;
use crate::recording::{Ended, Recording};
use crate::tracker::{Live, Tracker};

/// Times from a listing and from a trace differ by what the listing took.
const SLACK_NS: u64 = 2_000_000_000;

/// What is known of live sockets.
#[derive(Debug, Default)]
pub struct Owners {
    known: HashMap<Conn, Live>,
    sources: usize,
}

impl Owners {
    /// Whether nobody was there to know anything.
    pub fn is_empty(&self) -> bool {
        self.sources == 0
    }

    /// Takes in the sockets that live at the end of a recording; `name` is for what the user should know of it.
    pub fn learn(&mut self, name: &str, mut recording: Recording) -> Option<Note> {
        self.sources += 1;
        // Numbers of sockets and times begin anew with each boot.
        let booted = clock::boot_id();
        let head = recording.head();
        if !head.boot_id.is_empty() && !booted.is_empty() && head.boot_id != booted {
            return Some(format!(
                "{name} is of another machine, or of another boot of this one: it owns no socket here"
            ));
        }
        let mut world = Tracker::new();
        world.advance(head.mono_ns);
        world.seed(recording.seeds().iter().cloned());
        recording.events().for_each(|mut event| drop(world.apply(&mut event)));
        let told = world.sockets().filter(|(_, live)| live.owner.is_some() || live.opener.is_some());
        self.known.extend(told.map(|(conn, live)| (*conn, live)));
        match recording.end() {
            Ended::Complete(_) => None,
            Ended::Missing { why } => {
                Some(format!("{name} has no end ({why}): what came later is not known"))
            }
        }
    }

    /// What is known of a socket that was listed at `listed_ns` of CLOCK_MONOTONIC. A connection's ports may have been used
    /// again since: where the cookie cannot tell, the time left must agree, and nobody is named where it does not.
    pub(super) fn of(&self, conn: &Conn, socket: &DiagSocket, listed_ns: u64) -> Option<&Live> {
        let live = self.known.get(conn)?;
        let is_same = match (live.cookie, socket.cookie) {
            (Some(cookie), 1..) => cookie == socket.cookie,
            _ => {
                let ends_ns = listed_ns + u64::from(socket.expires_ms) * 1_000_000;
                live.ends_ns.abs_diff(ends_ns) <= SLACK_NS
            }
        };
        is_same.then_some(live)
    }
}
