//! Owns: how much of what was seen there is room for at the end of a recording, and what is said of that which was seen and not kept.
//! Must not know: what was seen.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::figures::count;
use crate::recording::lists::LeftOut;

/// Bytes of JSON for all namespaces. A reader takes 64 MB for the end of a recording, in which there is more than this; 61,000 connections of which
/// each has another destination come to 14.
pub(super) const ROOM: usize = 24 << 20;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new() -> Self {
        Self(ROOM)
    }

    /// Its part for the next of so many, all of which get as much. What one does not take is there for those after him: who takes least comes
    /// first.
    pub(super) fn part(&mut self, of: usize) -> Self {
        let part = self.0 / of.max(1);
        self.0 -= part;
        Self(part)
    }

    /// Gives back what was not taken.
    pub(super) fn add(&mut self, rest: &Self) {
        self.0 += rest.0;
    }

    /// Takes what this needs, where that is more than is left as well: it is kept in any case.
    pub(super) fn take(&mut self, kept: &impl Serialize) {
        self.0 = self.0.saturating_sub(bytes(kept));
    }

    /// Of these, in their order, those that fit into half of what is left, so that there is some for others; and how many `units` the rest has.
    pub(super) fn fit<T: Serialize>(&mut self, all: Vec<T>, units: impl Fn(&T) -> usize) -> (Vec<T>, u64) {
        let mut half = self.0 / 2;
        let (mut kept, mut left_out) = (Vec::new(), 0);
        for one in all {
            let bytes = bytes(&one);
            if bytes <= half {
                half -= bytes;
                self.0 -= bytes;
                kept.push(one);
            } else {
                left_out += units(&one) as u64;
            }
        }
        (kept, left_out)
    }
}

/// Counts what is written to it.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What this takes in JSON, with the comma behind it.
fn bytes(kept: &impl Serialize) -> usize {
    let mut count = Count(1);
    match serde_json::to_writer(&mut count, kept) {
        Ok(()) => count.0,
        // What cannot be written has no room.
        Err(_) => usize::MAX,
    }
}

/// In words for a user, of all namespaces together; `None` where all was kept.
pub fn left_out(all: impl Iterator<Item = LeftOut>) -> Option<String> {
    let sum = all.fold(LeftOut::default(), |sum, one| LeftOut {
        pools: sum.pools.saturating_add(one.pools),
        ports: sum.ports.saturating_add(one.ports),
        crowd: sum.crowd.saturating_add(one.crowd),
        connections: sum.connections.saturating_add(one.connections),
    });
    let LeftOut { pools, ports, crowd, connections } = sum;
    let told = [
        (pools, "pool", " of ports"),
        (ports, "local port", ""),
        (crowd, "socket", " on ports when a call had failed"),
        (connections, "connection", " when a call had failed"),
    ];
    let told = told.into_iter().filter(|(number, ..)| *number != 0);
    let words: Vec<String> =
        told.map(|(number, what, which)| format!("{}{which}", count(number, what))).collect();
    (!words.is_empty()).then(|| {
        format!("{}: there was no room for them, and the fullest destinations came first", words.join(", "))
    })
}
